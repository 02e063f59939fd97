"""TensorRT's real Python API on machines without a GPU, for tests."""

from .bring_up import Found, bring_up

__all__ = ["Found", "bring_up"]
