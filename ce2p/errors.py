"""Errors of making networks: checkpoints, configurations, data sets. Their root is the runtime's."""

from ce2p_runtime.errors import CE2PError, ConfigError

__all__ = ["CE2PError", "CheckpointError", "ConfigError", "DataError"]


class CheckpointError(CE2PError):
    """A checkpoint is missing, damaged, unsafe, or does not fit any network we know."""


class DataError(CE2PError):
    """A data set lacks a file, or holds one that cannot be what it should be."""
