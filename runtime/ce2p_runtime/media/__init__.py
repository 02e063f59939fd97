"""Pictures and videos: found, read with an account of what is lost, and written whole."""
