"""Open what a candidate is compared with: the exact thing, wherever the candidate runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ce2p.errors import CheckpointError, ConfigError
from ce2p_runtime import HumanParser
from ce2p_runtime.backends import check_threads
from ce2p_runtime.model_files.engine_file import ENGINE_SUFFIXES
from ce2p_runtime.model_files.onnx_file import exported_metadata

from .checks import check_precision
from .notes import note

if TYPE_CHECKING:  # it loads torch, which exported files do without
    from ce2p_export import SourceModel


def check_reference(model: str | Path | SourceModel, *, dataset: str | None = None, stride: int | None = None) -> None:
    """Raise what `open_reference` would, as far as it can be known without opening anything.

    Raises ConfigError for options that such a file has no use for, ModelFileError and CheckpointError for a file that
    is not there or is something else, BackendError for one that ONNX Runtime, where references run, does not run.
    """
    if not isinstance(model, str | Path):
        return
    model = Path(model)
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
    model: str | Path | SourceModel,
    size: tuple[int, int],
    *,
    dataset: str | None = None,
    stride: int | None = None,
    threads: int | None = None,
    trust_engine: bool = False,
) -> HumanParser:
    """A network or checkpoint in PyTorch at input `size` (height, width), an ONNX file in ONNX Runtime, or an engine.

    The first two run on the CPU, where float32 keeps all its bits: GPU libraries may round it to 10 by default.
    `dataset` and `stride` are for checkpoints that do not tell. Raises CE2PError.
    """
    check_reference(model, dataset=dataset, stride=stride)
    if isinstance(model, str | Path) and _is_exported(Path(model)):
        if Path(model).suffix == ".onnx":
            return HumanParser(model, backend="onnxruntime", device="cpu", threads=threads)
        return HumanParser(model, threads=threads, trust_engine=trust_engine)
    from .models import source_of  # loads torch, which exported files do without

    source = source_of(model, dataset=dataset, stride=stride)
    name = Path(model).name if isinstance(model, str | Path) else source.stem
    return _open_trained(source, size, name, threads)


def _open_trained(source: SourceModel, size: tuple[int, int], name: str, threads: int | None) -> HumanParser:
    """The trained network itself, in PyTorch on the CPU in float32, at input `size` (height, width)."""
    import torch

    from ce2p_export.torch_backend import TorchBackend

    if threads is not None:
        check_threads(threads)
        torch.set_num_threads(threads)
    if source.input_size != size:
        trained, asked = (f"{height}x{width}" for height, width in (source.input_size, size))
        note(f"note: {name} is run at {asked}, the candidate's input size, not at its own {trained}")
    return HumanParser.on(TorchBackend.of(source, size, "cpu"), name=name)


def _is_exported(model: Path) -> bool:
    return model.suffix == ".onnx" or model.suffix in ENGINE_SUFFIXES
