"""What can go wrong at run time, as errors whose one-line message names the thing, what was found and the cure."""

__all__ = ["BackendError", "CE2PRuntimeError", "MediaError", "ModelFileError", "UndecidedError"]


class CE2PRuntimeError(Exception):
    """Base of every error this package raises on purpose. `str(error)` is one line, ready for a user."""


class ModelFileError(CE2PRuntimeError):
    """A model file is missing, damaged, or does not carry the metadata the runtime needs."""


class UndecidedError(ModelFileError):
    """A network's logits are not finite, so that they decide no class."""


class BackendError(CE2PRuntimeError):
    """An inference backend is not installed, or cannot run on the device that was asked for."""


class MediaError(CE2PRuntimeError):
    """A picture, folder or video cannot be read or written, or ended before it should have."""
