"""`ce2p export --format engine`: an ONNX file first where there is none, then the engine, and what is inside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from ce2p_export.gating import GateOutcome
from ce2p_export.tensorrt import BuildSettings, BuiltEngine, build_engine_file
from ce2p_export.tensorrt.layers import EngineLayer
from ce2p_export.tensorrt.settings import HardwareCompatibility
from ce2p_export.tensorrt.versions import load_tensorrt
from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.destinations import check_destination
from ce2p_runtime.engine_file import ENGINE_SUFFIXES, sidecar_path
from ce2p_runtime.gate import GateReport, Reference, judge, thresholds_for

from .arguments import gate_thresholds
from .console import progress_bar, remark, say, table, write_json
from .export import ExportRequest, export_file
from .export_report import gate_table
from .gate_pictures import choose_pictures
from .preflight import check_json
from .reference import open_reference

__all__ = ["EngineRequest", "run"]

SHOWN = 5
"""Names of layers in one line; --json has all."""


@dataclass(frozen=True)
class EngineRequest:
    """The command's options that only engines have."""

    batches: tuple[int, ...] | None
    workspace: float | None
    optimization_level: int
    plugins: bool
    tf32: bool
    version_compatible: bool
    hardware_compatibility: str
    rebuild: bool


def run(export: ExportRequest, engine: EngineRequest) -> None:
    """Build and report. Raises CE2PError."""
    settings = BuildSettings(
        engine.batches,
        engine.workspace,
        engine.optimization_level,
        engine.plugins,
        engine.tf32,
        engine.version_compatible,
        cast(HardwareCompatibility, engine.hardware_compatibility),
    )
    _check(export)
    onnx_path = _onnx_of(export)
    with _build_bars() as progress:
        built = build_engine_file(
            onnx_path, settings, export.output, rebuild=engine.rebuild, progress=progress, note=remark
        )
    verdict = _judged(export, built, engine.tf32)
    if export.json:
        gate = verdict.to_dict() if verdict is not None else None
        document = {"path": str(built.path), "built": built.reason, **_facts(built), "gate": gate}
        write_json(document, export.json, "engine")
    if export.json != "-":
        _report(built)
        if verdict is not None:
            gate_table(GateOutcome({"tensorrt": verdict}, {}))


def _check(export: ExportRequest) -> None:
    """Raise what would otherwise be raised after the export of the ONNX file."""
    load_tensorrt()
    check_json(export.json, [export.model], export.overwrite)
    if export.output is not None:
        # An engine of ours is built anew where it is out of date, as without -o.
        ours = sidecar_path(export.output).is_file()
        check_destination(
            export.output, what="the engine", suffixes=ENGINE_SUFFIXES, inputs=[export.model],
            overwrite=export.overwrite or ours,
        )  # fmt: skip


def _onnx_of(export: ExportRequest) -> Path:
    """MODEL itself where it is an ONNX file, else one exported beside the engine."""
    if Path(export.model).suffix.lower() != ".onnx":
        beside = export.output.with_suffix(".onnx") if export.output else None
        exported = export_file(replace(export, output=beside, remake=True))
        remark(f"exported {exported.path}")
        return exported.path
    return Path(export.model)


def _judged(export: ExportRequest, built: BuiltEngine, tf32: bool) -> GateReport | None:
    """The engine's labels against those of what it was made from; None, with a remark, where that says nothing.

    Raises GateError for an engine that is not as good, after which it is gone.
    """
    precision = built.sidecar.precision
    # TF32 rounds what convolutions read to the 10 bits that float16 has.
    limits = gate_thresholds(export.gate, thresholds_for("fp16" if tf32 and precision == "fp32" else precision))
    if limits is None or export.random or Path(export.model).suffix.lower() == ".onnx":
        reason = "--gate off" if limits is None else "untrained weights" if export.random else "made from an ONNX file"
        remark(f"note: the engine's labels were not judged ({reason}); `ce2p verify CHECKPOINT {built.path}` does it")
        return None
    try:
        parser = HumanParser(built.path)
    except BackendError as error:
        remark(f"note: the engine's labels were not judged, since it does not run here: {error}")
        return None
    size = built.sidecar.metadata.input_size
    with parser, open_reference(Path(export.model), size, dataset=export.dataset, stride=export.stride) as trained:
        pictures, _ = choose_pictures(export.data or export.calibration, trained.metadata, export.gate_count)
        report = judge(Reference.of(trained, pictures, candidate=parser.metadata), parser, limits)
    if not report.passed:
        report.paint_worst(built.path.with_name(f"{built.path.stem}_worst.png"))
        for file in (built.path, sidecar_path(built.path)):
            file.unlink(missing_ok=True)
    report.require()
    return report


@contextmanager
def _build_bars() -> Iterator[Callable[[str, int, int], bool]]:
    """One bar for each phase TensorRT is in."""
    lock = threading.Lock()
    with progress_bar("steps") as bars:
        tasks = {}

        def tell(phase: str, done: int, total: int) -> bool:
            with lock:
                if done < total:
                    if phase not in tasks:
                        tasks[phase] = bars.add_task(phase, total=total, note="")
                    bars.update(tasks[phase], completed=done)
                elif phase in tasks:
                    bars.remove_task(tasks.pop(phase))
            return True

        yield tell


def _facts(built: BuiltEngine) -> dict[str, object]:
    sidecar = built.sidecar
    return {
        "tensorrt": sidecar.tensorrt,
        "architecture": sidecar.architecture,
        "precision": sidecar.precision,
        "batches": [profile.optimum for profile in sidecar.profiles],
        "plugins": list(sidecar.plugins),
        "float32_layers": list(built.float32),
        "build": sidecar.build,
    }


def _report(built: BuiltEngine) -> None:
    sidecar = built.sidecar
    if built.layers:
        _layer_table(built.layers)
    if built.float32:
        shown = ", ".join(built.float32[:SHOWN]) + (", ..." if len(built.float32) > SHOWN else "")
        total = len(built.layers)
        remark(f"note: {len(built.float32)} of {total} layers of this {sidecar.precision} engine are float32: {shown}")
    ours = ", ".join(sidecar.plugins) or "none"
    batches = ", ".join(str(profile.optimum) for profile in sidecar.profiles)
    say(f"batch {batches}; our kernels inside: {ours}; TensorRT {sidecar.tensorrt}, {sidecar.architecture}")
    megabytes = built.path.stat().st_size / 1e6
    done = f"built in {sidecar.build['seconds']} s" if built.reason else "up to date, reused"
    say(f"engine {built.path} ({megabytes:.1f} MB), {done}; {sidecar_path(built.path).name} belongs to it")
    say(f"next: ce2p parse PICTURE_OR_VIDEO --model {built.path}")


def _layer_table(layers: tuple[EngineLayer, ...]) -> None:
    """How many layers of each kind write which type."""
    types = sorted({layer.outputs[0] if layer.outputs else "?" for layer in layers})
    kinds = sorted({layer.plugin or layer.type or "?" for layer in layers})
    rows = []
    for kind in kinds:
        members = [layer for layer in layers if (layer.plugin or layer.type or "?") == kind]
        counts = [sum((layer.outputs[0] if layer.outputs else "?") == name for layer in members) for name in types]
        rows.append((kind, *(str(count) if count else "" for count in counts)))
    table("Layers of the engine, by what they write", ("layer", *types), rows)
