"""`ce2p export --format engine`: an ONNX file first where there is none, then the engine, and what is inside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ce2p.api.engine import MadeEngine, build_engine, check_engine
from ce2p_export.tensorrt import BuiltEngine
from ce2p_export.tensorrt.layers import EngineLayer
from ce2p_runtime.judge import GateOutcome
from ce2p_runtime.model_files.engine_file import sidecar_path

from .console import remark, say, step_bars, table, write_json
from .export import export_shown
from .export_report import gate_table
from .preflight import check_json

SHOWN = 5
"""Names of layers in one line; --json has all."""


def run(
    model: str,
    output: Path | None,
    *,
    json: str | None,
    overwrite: bool,
    export_options: Mapping[str, Any],
    **engine_options: Any,
) -> None:
    """Build and report; the options are those of `ce2p.export` and of `ce2p.build_engine`. Raises CE2PError."""
    check_json(json, [model], overwrite)
    check_engine(output, [model], overwrite=overwrite)
    from_onnx = Path(model).suffix.lower() == ".onnx"
    shared = {name: export_options[name] for name in ("gate", "gate_count", "dataset", "stride")}
    untrained = bool(export_options["random"])
    onnx = Path(model) if from_onnx else _exported(model, output, overwrite, export_options)
    with step_bars("steps") as progress:
        made = build_engine(
            onnx,
            output,
            reference=None if from_onnx or untrained else model,
            data=export_options["data"] or export_options["calib"],
            overwrite=overwrite,
            progress=progress,
            **shared,
            **engine_options,
        )
    if json:
        gate = made.verdict.to_dict() if made.verdict is not None else None
        document = {"path": str(made.path), "built": made.built.reason, **_facts(made.built), "gate": gate}
        write_json(document, json, "engine")
    if json != "-":
        _report(made)


def _exported(model: str, output: Path | None, overwrite: bool, options: Mapping[str, Any]) -> Path:
    """An ONNX file of the model, beside the engine; an earlier one of the same model is made anew."""
    beside = output.with_suffix(".onnx") if output else None
    exported = export_shown(model, beside, overwrite=overwrite or "same model", **options)
    remark(f"exported {exported.path}")
    return exported.path


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


def _report(made: MadeEngine) -> None:
    built, sidecar = made.built, made.built.sidecar
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
    if made.verdict is not None:
        gate_table(GateOutcome({"tensorrt": made.verdict}, {}))


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
