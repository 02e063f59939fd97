"""Errors a user can act on. `str(error)` is one line: what, found, expected, what to do.

All packages' errors descend from `CE2PError`; those that need torch's side of the house stand in `ce2p.errors`.
"""

__all__ = [
    "BackendError",
    "CE2PError",
    "CE2PRuntimeError",
    "ConfigError",
    "MediaError",
    "ModelFileError",
    "UndecidedError",
]


class CE2PError(Exception):
    """Base of every error that ce2p raises on purpose; the command line prints it and exits with status 1."""


class ConfigError(CE2PError):
    """A model name or a configuration value that makes no sense."""


class CE2PRuntimeError(CE2PError):
    """Base of the errors that running a network raises, as opposed to making one."""


class ModelFileError(CE2PRuntimeError):
    """A model file is missing, damaged, or does not carry the metadata the runtime needs."""


class UndecidedError(ModelFileError):
    """A network's logits are not finite, so that they decide no class."""


class BackendError(CE2PRuntimeError):
    """An inference backend is not installed, or cannot run on the device that was asked for."""


class MediaError(CE2PRuntimeError):
    """A picture, folder or video cannot be read or written, or ended before it should have."""
