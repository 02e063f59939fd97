"""From an exported ONNX file to a TensorRT engine for this machine's GPU: `ce2p.build_engine`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ce2p_export import SourceModel
from ce2p_export.tensorrt import BuildSettings, BuiltEngine, build_engine_file
from ce2p_export.tensorrt.settings import HardwareCompatibility
from ce2p_export.tensorrt.versions import load_tensorrt
from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.base.destinations import check_destination
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.judge import GateReport, Reference, judge_labels
from ce2p_runtime.model_files.engine_file import ENGINE_SUFFIXES, sidecar_path
from ce2p_runtime.precisions import precision_named

from .export import Gate, limits_of
from .notes import note
from .pictures import choose_pictures
from .reference import open_reference


@dataclass(frozen=True)
class MadeEngine:
    """An engine, and what the gate said of it."""

    built: BuiltEngine
    verdict: GateReport | None
    """None where nobody judged it; the logger "ce2p" was told why."""

    @property
    def path(self) -> Path:
        """The engine file; its .json belongs to it."""
        return self.built.path


def build_engine(
    onnx: str | Path,
    output: str | Path | None = None,
    *,
    reference: str | Path | SourceModel | None = None,
    batches: Sequence[int] | None = None,
    workspace: float | None = None,
    optimization_level: int = 3,
    plugins: bool = True,
    tf32: bool = False,
    version_compatible: bool = False,
    hardware_compatibility: HardwareCompatibility = "none",
    rebuild: bool = False,
    overwrite: bool = False,
    data: str | Path | None = None,
    gate: Gate = True,
    gate_count: int = 16,
    dataset: str | None = None,
    stride: int | None = None,
    progress: Progress = without_progress,
) -> MadeEngine:
    """Build the engine of an ONNX file of ours, unless the one that is there is up to date, and judge its labels.

        made = ce2p.export(net, precision="fp16", batch=None)
        ce2p.build_engine(made.path, reference=net, batches=(1, 4, 16)).path

    `output`: the file; None: beside the ONNX file, named after what it was built for. `reference`: the trained network
    to compare labels with on `gate_count` pictures of `data` (None: synthetic people); without one nobody judges.
    `batches`: sizes to build for (None: the file's own). `workspace`: scratch memory in GiB. `plugins`: our kernels for
    our ops. The others are TensorRT's own. Raises EngineError where it cannot be built, after which nothing new is
    there, and GateError for one that is not as good, after which it is gone; BackendError without TensorRT.
    """
    target = None if output is None else Path(output)
    settings = BuildSettings(
        batches=None if batches is None else tuple(batches),
        workspace_gib=workspace,
        optimization_level=optimization_level,
        plugins=plugins,
        tf32=tf32,
        version_compatible=version_compatible,
        hardware_compatibility=hardware_compatibility,
    )
    check_engine(target, [onnx], overwrite=overwrite)
    built = build_engine_file(Path(onnx), settings, target, rebuild=rebuild, progress=progress, note=note)
    precision = built.sidecar.precision
    # TF32 rounds what convolutions read to the 10 bits that float16 has.
    limits = limits_of(gate, precision_named("fp16" if tf32 and precision == "fp32" else precision).labels)
    if limits is None or reference is None:
        reason = "--gate off" if limits is None else "there is no trained network to compare them with"
        note(f"note: the engine's labels were not judged ({reason}); `ce2p verify CHECKPOINT {built.path}` does it")
        return MadeEngine(built, None)
    try:
        parser = HumanParser(built.path)
    except BackendError as error:
        note(f"note: the engine's labels were not judged, since it does not run here: {error}")
        return MadeEngine(built, None)
    size = built.sidecar.metadata.input_size
    with parser, open_reference(reference, size, dataset=dataset, stride=stride) as trained:
        pictures, _ = choose_pictures(None if data is None else Path(data), trained.metadata, gate_count)
        report = judge_labels(Reference.of(trained, pictures, candidate=parser.metadata), parser, limits)
    if not report.passed:
        report.paint_worst(built.path.with_name(f"{built.path.stem}_worst.png"))
        for file in (built.path, sidecar_path(built.path)):
            file.unlink(missing_ok=True)
    report.require()
    return MadeEngine(built, report)


def check_engine(output: Path | None, inputs: Iterable[str | Path], *, overwrite: bool) -> None:
    """Raise what would otherwise be raised after minutes: without TensorRT, or where the file must not be written."""
    load_tensorrt()
    if output is not None:
        # An engine of ours is built anew where it is out of date, as without a name.
        ours = sidecar_path(output).is_file()
        check_destination(
            output, what="the engine", suffixes=ENGINE_SUFFIXES, inputs=inputs, overwrite=overwrite or ours
        )
