"""Checkpoints: every public layout of the family read safely, our own written."""

from .loading import LoadedCheckpoint, load_checkpoint
from .own_format import save_checkpoint

__all__ = ["LoadedCheckpoint", "load_checkpoint", "save_checkpoint"]
