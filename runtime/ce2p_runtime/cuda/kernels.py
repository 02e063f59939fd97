"""The kernels around one network: compiled here, or carried beside an engine so that no compiler is needed there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..base.files import atomic_path, file_sha256
from ..errors import ModelFileError
from ..model_files.metadata import ModelMetadata
from ..ops import FUSED_OPS
from ..ops.launches import KernelSource, Launch
from .compiler import compile_ptx, ptx_header, source_sha256
from .driver import Module, Resources, Stream

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CarriedKernels:
    """PTX files in `folder`: name -> sha256, as the engine's sidecar states them."""

    folder: Path = Path()
    files: Mapping[str, str] = field(default_factory=dict)


def kernel_sources(metadata: ModelMetadata, input_half: bool, output_half: bool) -> dict[str, KernelSource]:
    """What the ops before and after a network are compiled from. Half: the network's own input or logits are."""
    around = {name: op.around_network for name, op in FUSED_OPS.items()}
    return {name: source(metadata, input_half, output_half) for name, source in around.items() if source is not None}


def write_kernels(
    folder: Path, stem: str, metadata: ModelMetadata, input_half: bool, output_half: bool
) -> dict[str, str]:
    """Compile a model's kernels to PTX files in `folder`; returns name -> sha256, for the sidecar.

    Raises BackendError when there is no compiler, MediaError when a file cannot be written.
    """
    written = {}
    for op, source in kernel_sources(metadata, input_half, output_half).items():
        path = folder / f"{stem}.{op}.ptx"
        with atomic_path(path) as temporary:
            temporary.write_bytes(compile_ptx(source))
        written[path.name] = file_sha256(path)
    return written


class Kernels:
    """Loaded kernels, by op."""

    def __init__(self, modules: Mapping[str, Module], origin: str) -> None:
        self._modules = modules
        self.origin = origin
        """For people: where they come from."""

    def launch(self, launch: Launch, stream: Stream) -> None:
        """Queue a kernel. The context must be current."""
        self._modules[launch.op].launch(launch, stream)


def load_kernels(
    resources: Resources, metadata: ModelMetadata, input_half: bool, output_half: bool, carried: CarriedKernels
) -> Kernels:
    """Load what a model needs, from beside its engine where that fits, else compiled here. The context must be current.

    Raises ModelFileError for carried files that are missing or not those the sidecar names, BackendError when there is
    no compiler or the driver refuses the kernels.
    """
    sources = kernel_sources(metadata, input_half, output_half)
    found = {op: _carried_ptx(carried, source) for op, source in sources.items()}
    complete = None not in found.values()
    origin = "from beside the engine" if complete else "compiled here"
    if carried.files and not complete:
        logger.warning("the kernels beside the engine are of another ce2p version; compiled here instead")
    modules = {op: resources.module(ptx or compile_ptx(sources[op])) for op, ptx in found.items()}
    return Kernels(modules, f"kernels {origin}")


def _carried_ptx(carried: CarriedKernels, source: KernelSource) -> bytes | None:
    """The file beside the engine that was compiled from just this source, or None."""
    for name, sha256 in carried.files.items():
        path = carried.folder / name
        if Path(name).name != name:
            raise ModelFileError(f"{path}: the sidecar names kernels in another folder; build the engine again")
        try:
            ptx = path.read_bytes()
            whole = file_sha256(path) == sha256
        except OSError as error:
            raise ModelFileError(
                f"{path}: kernels of this engine cannot be read ({error.strerror}); copy all files of the export"
            ) from error
        if not whole:
            raise ModelFileError(f"{path}: is not the file its engine was exported with; copy it again")
        header = ptx_header(ptx)
        if header is None:
            raise ModelFileError(f"{path}: holds no kernels of ce2p; build the engine again")
        same = header.get("file") == source.file.name and header.get("defines") == dict(source.defines)
        # Kernels and the code that launches them belong together, so other sources are as good as none.
        if same and header.get("sha256") == source_sha256(source):
            return ptx
    return None
