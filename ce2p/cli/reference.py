"""Open what a candidate is compared with: the exact thing, wherever the candidate runs."""

from __future__ import annotations

from pathlib import Path

from ce2p.errors import ConfigError
from ce2p_runtime import HumanParser
from ce2p_runtime.engine_file import ENGINE_SUFFIXES

from .console import remark

__all__ = ["open_reference"]


def open_reference(
    model: Path,
    size: tuple[int, int],
    *,
    dataset: str | None = None,
    stride: int | None = None,
    threads: int | None = None,
    trust_engine: bool = False,
) -> HumanParser:
    """A checkpoint in PyTorch at input `size` (height, width), an ONNX file in ONNX Runtime, an engine in TensorRT.

    The first two run on the CPU, where float32 keeps all its bits: GPU libraries may round it to 10 by default.
    `dataset` and `stride` are for checkpoints that do not tell. Raises CE2PError and CE2PRuntimeError.
    """
    if model.suffix == ".onnx" or model.suffix in ENGINE_SUFFIXES:
        for option, value in (("--dataset", dataset), ("--os", stride)):
            if value is not None:
                raise ConfigError(f"{option} {value}: is for checkpoints, {model.name} knows its own; leave it out")
        if model.suffix == ".onnx":
            return HumanParser(model, backend="onnxruntime", device="cpu", threads=threads)
        return HumanParser(model, threads=threads, trust_engine=trust_engine)
    import torch

    from ce2p.checkpoints import load_checkpoint
    from ce2p_export.torch_backend import TorchBackend

    if threads is not None:
        torch.set_num_threads(threads)
    loaded = load_checkpoint(model, dataset=dataset, output_stride=stride)
    for text in loaded.notes:
        remark(f"note: {text}")
    if loaded.input_size != size:
        trained, asked = (f"{height}x{width}" for height, width in (loaded.input_size, size))
        remark(f"note: {model.name} is run at {asked}, the candidate's input size, not at its own {trained}")
    return HumanParser.on(TorchBackend.of(loaded, size, "cpu"), name=model.name)
