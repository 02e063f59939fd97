"""ce2p: CE2P human-parsing networks, their checkpoints, and the command line that turns them into fast files.

Importing this package loads no torch; its sub-modules do when they need it.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
