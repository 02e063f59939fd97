"""Snapshots: everything a run needs to go on as if nothing had happened.

Written beside, brought to the disk, renamed, and only then the oldest goes, so that at any moment, kill -9 and power
cuts included, a whole one is there. The last two are kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.base.text import first_line
from ce2p_runtime.errors import MediaError

from ..checkpoints.torch_files import read_torch_file
from ..errors import CE2PError, CheckpointError

KEPT = 2
_CURE = "remove it to resume from the one before it"


def write_snapshot(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors, numbers, texts, lists and dicts of them) as the snapshot after optimiser step `step`.

    Raises CE2PError when it cannot be written; earlier snapshots then stand as they were.
    """
    path = folder / f"step-{step:09d}.pt"
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
    except (MediaError, OSError, RuntimeError) as error:  # torch's writer reports a full disk as any of these
        raise CE2PError(
            f"{path}: cannot be written ({_reason(error)}); the snapshots before it are whole: free space and use "
            "--resume"
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
    if not path.is_file():
        raise CheckpointError(f"{path}: is no file, expected a snapshot written by `ce2p train`; {_CURE}")
    state = read_torch_file(path, _CURE)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds one {type(state).__name__}, expected a snapshot; {_CURE}")
    return state


def check_state(found: Any, expected: Any, name: str = "the snapshot") -> None:
    """Raise ValueError where `found` is not built like `expected`, what a run of the same configuration holds.

    That is: the same keys, tensors of the same shapes and types, values of the same kinds. Values may differ.
    """
    if _kind(found) != _kind(expected):
        raise ValueError(f"{name} is {_kind(found)}, expected {_kind(expected)}")
    if isinstance(expected, dict) and (differing := sorted(map(repr, found.keys() ^ expected.keys()))):
        raise ValueError(f"{name} lacks, or should not have, {', '.join(differing[:3])}")
    inner = (
        expected.items() if isinstance(expected, dict) else enumerate(expected) if isinstance(expected, list) else ()
    )
    for key, value in inner:
        check_state(found[key], value, f"{key} of {name}")


def _reason(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    said = cause.strerror if isinstance(cause, OSError) else None
    return said or first_line(cause)


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        shape = "x".join(map(str, value.shape)) or "one"
        return f"{shape} {value.dtype}" + ("" if value.layout == torch.strided else f" as {value.layout}")
    if isinstance(value, dict):
        return "keys with values"
    return f"a list of {len(value)}" if isinstance(value, list) else f"one {type(value).__name__}"


def _snapshots(folder: Path) -> list[Path]:
    """Oldest first. Names that start with a dot are unfinished ones that a kill left."""
    return sorted(folder.glob("step-*.pt"))
