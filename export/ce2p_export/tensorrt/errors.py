"""What can go wrong on the way to an engine."""

from ce2p.errors import CE2PError

__all__ = ["EngineError"]


class EngineError(CE2PError):
    """TensorRT is not usable here, or refuses a file or a setting."""
