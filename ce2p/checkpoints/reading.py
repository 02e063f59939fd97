"""Reading tensors out of a file without ever running what is inside it.

safetensors files hold no code; `.pth` files are read with torch's `weights_only` unpickler, never with plain pickle.
Everything that is not a checkpoint is named for what it is.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import CheckpointError

__all__ = ["RawCheckpoint", "read_tensors", "sha256_of"]

_WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Keys under which published files keep the tensors: SCHP, sssegmentation, and a common habit."""


@dataclass(frozen=True)
class RawCheckpoint:
    """A checkpoint's tensors under the names the file uses, stripped of wrapper and `module.` prefix."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    """safetensors metadata; empty for `.pth` files."""
    wrapper: str
    """How the tensors were packed, in words."""


def read_tensors(path: Path) -> RawCheckpoint:
    """Read a `.pth`, `.pt`, `.tar` or `.safetensors` file. Raises CheckpointError with one clear line."""
    _refuse_impostors(path)
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
        wrapper = "safetensors"
    else:
        tensors, wrapper = _unwrap(_read_pth(path), path)
        metadata = {}
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        wrapper += ", prefix 'module.'"
    return RawCheckpoint(path, tensors, metadata, wrapper)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _refuse_impostors(path: Path) -> None:
    """Name the usual things that are saved under a checkpoint's name but are none."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {found}; expected a checkpoint (.pth, .pt, .tar, .safetensors)")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if size == 0:
        raise CheckpointError(f"{path}: the file is empty; download it again")
    if head.startswith(b"version https://git-lfs"):
        real = re.search(rb"size (\d+)", head)
        expected = f"the real file has {int(real.group(1)):,} bytes" if real else "the real file is elsewhere"
        raise CheckpointError(f"{path}: a Git-LFS pointer of {size} bytes, {expected}; run `git lfs pull`")
    # A letter, "!" or "?" must follow: the length in front of a safetensors header can read " <" too.
    if re.match(rb"(\xef\xbb\xbf)?\s*<[A-Za-z!?]", head):
        raise CheckpointError(
            f"{path}: an HTML page of {size:,} bytes, not a checkpoint; its link leads to a web page, download again"
        )
    if path.suffix in {".onnx", ".engine"}:
        raise CheckpointError(f"{path}: an exported model, not a checkpoint; expected .pth, .pt, .tar or .safetensors")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            # Copied: a tensor inside the mapped file lies at an odd address, where kernels round differently.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: damaged or truncated safetensors file ({error}); download or save it again"
        ) from None


def _read_pth(path: Path) -> Any:
    with path.open("rb") as file:
        archive = file.read(2) == b"PK"
    if archive and not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path}: truncated, {path.stat().st_size:,} bytes of a zip archive whose end is missing; download it again"
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # the error below says it all
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_explain_unpickling(path, str(error))) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        # torch raises any of these, depending on where the bytes stop making sense.
        if "TorchScript" in str(error):
            raise CheckpointError(f"{path}: a TorchScript program, not weights; expected a state_dict") from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path}: not a readable checkpoint, truncated or damaged ({reason}); download it again"
        ) from None


def _explain_unpickling(path: Path, text: str) -> str:
    wanted = re.search(r"(?:GLOBAL|Unsupported (?:global|class|operand)[^\w]*) ?([\w.]+\.[\w]+)", text)
    if wanted:
        return (
            f"{path}: refused, its pickle asks to run {wanted.group(1)}, which is code and not weights; "
            "if you trust the source, save its state_dict as .safetensors where it was made"
        )
    # torch's own text goes no further: it recommends to switch the protection off.
    return f"{path}: not a checkpoint or damaged, torch.save did not write these bytes; expected tensors by name"


def _unwrap(loaded: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    """Find the mapping of names to tensors: the file itself, or under one of the usual keys."""
    if isinstance(loaded, Mapping):
        for key in _WRAPPERS:
            if isinstance(loaded.get(key), Mapping):
                return _only_tensors(loaded[key], path), f"under {key!r}"
        if loaded and all(isinstance(name, str) for name in loaded):
            return _only_tensors(loaded, path), "flat"
    if isinstance(loaded, Mapping):
        found = f"keys {', '.join(map(repr, list(loaded)[:5]))}" if loaded else "nothing"
    else:
        found = f"one {type(loaded).__name__}"
    raise CheckpointError(f"{path}: holds {found}; expected tensors by name, flat or under {' or '.join(_WRAPPERS)}")


def _only_tensors(mapping: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    for name, value in mapping.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            found = f"{name!r} holds {type(value).__name__}"
            raise CheckpointError(f"{path}: {found}, expected tensors by name; this is no state_dict")
    return dict(mapping)
