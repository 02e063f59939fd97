"""What torch says about a network is kept for the run: the tests export few networks, each many times.

A trace takes over a second, counting its operations after each fold half of that, and both are the same for every
precision, output and proof, which is what those tests are about. Whatever differs in an attribute, a shape or a name is
asked anew, and of a trace whatever differs in a weight, too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

__all__ = ["keep_operation_counts", "keep_traces"]


def keep_traces(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let `torch.onnx.export` look in `folder` before it traces. Several processes may share the folder."""
    import onnx_ir as ir

    export = torch.onnx.export

    def kept(module: nn.Module, arguments: tuple[Tensor, ...], **options: Any) -> torch.onnx.ONNXProgram:
        given = [(argument.shape, argument.dtype) for argument in arguments], _plain(options)
        file = folder / f"{_digest(module, given, weights=True)}.onnx"
        if not file.exists():
            program = export(module, arguments, **options)
            assert program is not None
            partial = file.with_suffix(f".{os.getpid()}")
            ir.save(program.model, partial)
            partial.replace(file)
        # Read again by the one that traced it, too, so that all get the same.
        return torch.onnx.ONNXProgram(ir.from_proto(onnx.load(str(file))), None)  # type: ignore[arg-type]

    patch.setattr(torch.onnx, "export", kept)


def keep_operation_counts(patch: pytest.MonkeyPatch) -> None:
    """Let `deploy` count the operations of networks of one structure once."""
    deploy = importlib.import_module("ce2p_export.deploy")
    count, known = deploy.count_flops, dict[str, int]()

    def kept(module: nn.Module, height: int, width: int) -> int:
        key = _digest(module, (height, width), weights=False)
        if key not in known:
            known[key] = count(module, height, width)
        return known[key]

    patch.setattr(deploy, "count_flops", kept)


def _digest(module: nn.Module, given: Any, *, weights: bool) -> str:
    digest = hashlib.blake2b(repr(given).encode(), digest_size=16)
    for part in _description(module, weights):
        digest.update(part)
    return digest.hexdigest()


def _description(module: nn.Module, weights: bool) -> Iterator[bytes]:
    """Everything that a network computes by: its modules with their attributes, their tensors' shapes and values."""
    for name, part in module.named_modules():
        tensors = {**part._parameters, **part._buffers}
        facts = {}
        for key, value in vars(part).items():
            if isinstance(value, Tensor):
                tensors[key] = value
            elif not key.startswith("_"):
                facts[key] = _plain(value)
        yield f"{name} {type(part)} {facts}".encode()
        for key, tensor in tensors.items():
            if tensor is not None:
                yield f"{key} {tensor.shape} {tensor.dtype}".encode()
                if weights:
                    yield tensor.detach().numpy().tobytes()


def _plain(value: Any) -> Any:
    """What tells one option from another: an axis by its name and limits, a graph by what its trace depends on."""
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, torch.export.Dim):
        return value.__name__, value.min, value.max
    if dataclasses.is_dataclass(value) and hasattr(value, "output_kind"):
        # Traced are float32 graphs that end in logits, whatever is made of them afterwards.
        return dataclasses.replace(value, precision="fp32", io="float32", output_kind="logits")  # type: ignore[type-var]
    return value
