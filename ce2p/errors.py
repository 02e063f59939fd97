"""Errors a user can act on. `str(error)` is one line: what, found, expected, what to do."""

__all__ = ["CE2PError", "CheckpointError", "ConfigError", "DataError"]


class CE2PError(Exception):
    """Base of every error this package raises on purpose; the command line prints it and exits with status 1."""


class CheckpointError(CE2PError):
    """A checkpoint is missing, damaged, unsafe, or does not fit any network we know."""


class ConfigError(CE2PError):
    """A model name or a configuration value that makes no sense."""


class DataError(CE2PError):
    """A data set lacks a file, or holds one that cannot be what it should be."""
