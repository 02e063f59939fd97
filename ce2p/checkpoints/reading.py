"""Reading tensors out of a file without ever running what is inside it.

safetensors files hold no code; `.pth` files are read by `torch_files.py`. Everything that is not a checkpoint is named
for what it is, and what comes out are plain tensors: dense numbers on the CPU.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ..errors import CheckpointError
from .torch_files import MOST_BYTES, read_torch_file, reason_of

_CURE = "download or save it again"
_MOST_HEADER = 16 * 2**20
"""Bytes of a safetensors header: some 100 kB for the largest networks. The format itself allows 100 MB."""
_WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Keys under which published files keep the tensors: SCHP, sssegmentation, and a common habit."""
_NUMBERS = frozenset(
    (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int16, torch.int32, torch.int64, torch.uint8)
)
"""Types that a public file's tensors may have; which of them a place takes is for `loading.py` to say."""


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
        tensors, wrapper = _unwrap(read_torch_file(path, _CURE), path)
        metadata = {}
    for name, tensor in tensors.items():
        if (oddity := _oddity(tensor)) is not None:
            raise CheckpointError(
                f"{path}: {shown(name)} is {oddity}, expected plain numbers on the CPU; save it again"
            )
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        wrapper += ", prefix 'module.'"
    return RawCheckpoint(path, tensors, metadata, wrapper)


def shown(name: object) -> str:
    """A name out of a file as it may stand in a message: short, on one line, without control characters."""
    text = name if isinstance(name, str) and name.isprintable() and name else repr(name)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _refuse_impostors(path: Path) -> None:
    """Name the usual things that are saved under a checkpoint's name but are none."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "a device or pipe" if path.exists() else "no such file"
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
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if size > MOST_BYTES or header > _MOST_HEADER:
        raise CheckpointError(
            f"{path}: damaged or truncated safetensors file ({size:,} bytes with a header of {header:,}, expected at "
            f"most {MOST_BYTES:,} and {_MOST_HEADER:,}); {_CURE}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            # Copied: a tensor inside the mapped file lies at an odd address, where kernels round differently.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except Exception as error:  # its own error, and torch's where it has no such tensor
        raise CheckpointError(f"{path}: damaged or truncated safetensors file ({reason_of(error)}); {_CURE}") from None


def _unwrap(loaded: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    """Find the mapping of names to tensors: the file itself, or under one of the usual keys."""
    if isinstance(loaded, Mapping):
        for key in _WRAPPERS:
            if isinstance(loaded.get(key), Mapping):
                return _only_tensors(loaded[key], path), f"under {key!r}"
        if loaded and all(isinstance(name, str) for name in loaded):
            return _only_tensors(loaded, path), "flat"
    if isinstance(loaded, Mapping):
        found = f"keys {', '.join(f'{key!r:.100}' for key in list(loaded)[:5])}" if loaded else "nothing"
    else:
        found = f"one {type(loaded).__name__}"
    raise CheckpointError(f"{path}: holds {found}; expected tensors by name, flat or under {' or '.join(_WRAPPERS)}")


def _only_tensors(mapping: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    for name, value in mapping.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            found = f"{name!r:.100} holds {type(value).__name__}"
            raise CheckpointError(f"{path}: {found}, expected tensors by name; this is no state_dict")
    return dict(mapping)


def _oddity(tensor: Tensor) -> str | None:
    """What makes a tensor another thing than numbers in memory; None where nothing does."""
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"a {type(tensor).__name__}"
    if tensor.device.type != "cpu":
        return f"on the device {tensor.device.type}, without values"
    if tensor.is_nested or tensor.layout is not torch.strided:
        return "a nested tensor" if tensor.is_nested else f"stored as {tensor.layout}"
    if tensor.is_quantized or tensor.dtype not in _NUMBERS:
        return f"of type {str(tensor.dtype).removeprefix('torch.')}"
    return "a view that negates its values" if tensor.is_neg() else None
