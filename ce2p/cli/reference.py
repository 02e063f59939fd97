"""Open what a candidate is compared with: the exact thing, wherever the candidate runs."""

from __future__ import annotations

from pathlib import Path

from ce2p.errors import CheckpointError, ConfigError
from ce2p_runtime import HumanParser
from ce2p_runtime.backends import check_threads
from ce2p_runtime.engine_file import ENGINE_SUFFIXES

from .console import remark
from .preflight import check_precision, exported_metadata

__all__ = ["check_reference", "open_reference"]


def check_reference(model: Path, *, dataset: str | None = None, stride: int | None = None) -> None:
    """Raise what `open_reference` would, as far as it can be known without opening anything.

    Raises ConfigError for options that such a file has no use for, ModelFileError and CheckpointError for a file that
    is not there or is something else, BackendError for one that ONNX Runtime, where references run, does not run.
    """
    if not _is_exported(model):
        if not model.is_file():
            found = "is a folder" if model.is_dir() else "no such file"
            raise CheckpointError(f"{model}: {found}, expected a checkpoint or an exported file to compare with")
        return
    for option, value in (("--dataset", dataset), ("--os", stride)):
        if value is not None:
            raise ConfigError(f"{option} {value}: is for checkpoints, {model.name} knows its own; leave it out")
    if model.suffix == ".onnx":
        check_precision(
            ["onnxruntime"], exported_metadata(model).precision, f"{model}: cannot be what others are compared with"
        )


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
    `dataset` and `stride` are for checkpoints that do not tell. Raises CE2PError.
    """
    check_reference(model, dataset=dataset, stride=stride)
    if _is_exported(model):
        if model.suffix == ".onnx":
            return HumanParser(model, backend="onnxruntime", device="cpu", threads=threads)
        return HumanParser(model, threads=threads, trust_engine=trust_engine)
    import torch

    from ce2p.checkpoints import load_checkpoint
    from ce2p_export.torch_backend import TorchBackend

    if threads is not None:
        check_threads(threads)
        torch.set_num_threads(threads)
    loaded = load_checkpoint(model, dataset=dataset, output_stride=stride)
    for text in loaded.notes:
        remark(f"note: {text}")
    if loaded.input_size != size:
        trained, asked = (f"{height}x{width}" for height, width in (loaded.input_size, size))
        remark(f"note: {model.name} is run at {asked}, the candidate's input size, not at its own {trained}")
    return HumanParser.on(TorchBackend.of(loaded, size, "cpu"), name=model.name)


def _is_exported(model: Path) -> bool:
    return model.suffix == ".onnx" or model.suffix in ENGINE_SUFFIXES
