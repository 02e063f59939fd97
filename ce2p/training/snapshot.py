"""Snapshots: everything a run needs to go on as if nothing had happened.

Written beside, brought to the disk, renamed, and only then the oldest goes, so that at any moment, kill -9 and power
cuts included, a whole one is there. The last two are kept.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import CE2PError, CheckpointError
from ..files import atomic_path

__all__ = ["KEPT", "latest_snapshot", "read_snapshot", "write_snapshot"]

KEPT = 2


def write_snapshot(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors, numbers, texts, lists and dicts of them) as the snapshot after optimiser step `step`.

    Raises CE2PError when it cannot be written; earlier snapshots then stand as they were.
    """
    path = folder / f"step-{step:09d}.pt"
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as either
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise CE2PError(
            f"{path}: cannot be written ({reason}); the snapshots before it are whole: free space and use --resume"
        ) from None
    for old in _snapshots(folder)[:-KEPT]:
        old.unlink()
    return path


def latest_snapshot(folder: Path) -> Path | None:
    """The newest snapshot, or None where there is none."""
    found = _snapshots(folder)
    return found[-1] if found else None


def read_snapshot(path: Path) -> dict[str, Any]:
    """What `write_snapshot` wrote, on the CPU. Raises CheckpointError; runs no code from the file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path}: damaged or no snapshot ({reason}); remove it to resume from the one before it"
        ) from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds one {type(state).__name__}, expected a snapshot written by `ce2p train`")
    return state


def _snapshots(folder: Path) -> list[Path]:
    """Oldest first. Names that start with a dot are unfinished ones that a kill left."""
    return sorted(folder.glob("step-*.pt"))
