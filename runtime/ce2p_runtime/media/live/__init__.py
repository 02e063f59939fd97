"""Video that comes while it is made: cameras, network streams and pipes, with an exact account of every frame."""
