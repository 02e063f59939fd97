"""`ce2p export`: its options, and the front door's export with its steps and what it found on the screen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ce2p_runtime.model_files.metadata import InputKind, IoType, OutputKind
from ce2p_runtime.precisions import CalibrationMethod, PrecisionName, Target

from .ignored_options import EXPORT, refuse_ignored
from .options import CPU_BACKEND_NAMES, Dataset, Family, Json, Overwrite, Random, Stride, wait_passively

if TYPE_CHECKING:  # it loads torch, which the help of a command does without
    from ce2p_export import Exported


def export(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="Checkpoint file, or a model name with --random; for an engine also an ONNX file.")
    ],
    imgsz: Annotated[
        str | None, typer.Option(help="Input side, or height and width. Default: the family's own.")
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Batch size; `dynamic` or several sizes (1,4,16) for a dynamic one. Default: 1, or an ONNX file's own."
        ),
    ] = None,
    input_kind: Annotated[
        InputKind, typer.Option("--input", help="float: normalised NCHW. uint8: BGR pixels NHWC.")
    ] = "float",
    output_kind: Annotated[
        OutputKind, typer.Option("--output", help="logits at 1/4 size, or labels at full size.")
    ] = "logits",
    edge: Annotated[bool, typer.Option("--edge", help="Keep the edge logits as a second output.")] = False,
    fold: Annotated[bool, typer.Option("--fold/--no-fold", help="Apply the exact folds.")] = True,
    output: Annotated[
        Path | None, typer.Option("-o", help="File to write. Default: beside the model, named after what is in it.")
    ] = None,
    dataset: Dataset = None,
    stride: Stride = None,
    family: Family = None,
    random: Random = False,
    seed: Annotated[int, typer.Option(help="With --random.")] = 0,
    format_: Annotated[
        Literal["onnx", "engine"],
        typer.Option("--format", help="engine: an ONNX file first, then TensorRT's engine for this GPU."),
    ] = "onnx",
    precision: Annotated[
        PrecisionName, typer.Option(help="Of weights and activations. int8 is calibrated on pictures.")
    ] = "fp32",
    io: Annotated[
        IoType, typer.Option("--io", help="Type of a float input and of logits; float16 where the inside is.")
    ] = "float32",
    target: Annotated[
        Target | None,
        typer.Option(help="int8: which kernels it is made for. Default: cpu for ONNX files, tensorrt for engines."),
    ] = None,
    calib: Annotated[
        Path | None,
        typer.Option(help="int8: pictures or data set to calibrate on. Default: --data, or synthetic people."),
    ] = None,
    calib_count: Annotated[int, typer.Option(min=1, help="int8: how many of them.")] = 32,
    calib_method: Annotated[
        CalibrationMethod, typer.Option(help="int8: how the range of an activation is chosen.")
    ] = "mse",
    data: Annotated[
        Path | None,
        typer.Option(help="Pictures or data set to compare labels on. Default: --calib, or synthetic people."),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(metavar="LIMIT=SHARE", help="Another limit of the gate, as pixel_agreement=0.995; off: no gate."),
    ] = None,
    gate_count: Annotated[int, typer.Option(min=1, help="Pictures that the gate compares labels on.")] = 16,
    backend: Annotated[
        str | None,
        typer.Option(
            help=f"Backends that the gate must be passed on, comma-separated: {CPU_BACKEND_NAMES}. Default: any that "
            "is installed."
        ),
    ] = None,
    search: Annotated[
        bool,
        typer.Option("--search/--no-search", help="Keep the fewest layers in higher precision that the gate asks for."),
    ] = True,
    low_rank: Annotated[
        bool,
        typer.Option(
            "--low-rank/--no-low-rank",
            help="int8 for CPUs, on your pictures: halve the largest convolution's input where the gate finds no loss.",
        ),
    ] = True,
    workspace: Annotated[float | None, typer.Option(help="Engine: scratch memory in GiB. Default: no limit.")] = None,
    opt_level: Annotated[
        int, typer.Option("--opt-level", min=0, max=5, help="Engine: 0 builds fast, 5 tries most.")
    ] = 3,
    no_plugins: Annotated[bool, typer.Option("--no-plugins", help="Engine: TensorRT's layers for our ops.")] = False,
    tf32: Annotated[bool, typer.Option("--tf32", help="Engine: fp32 convolutions may round to 10 bits.")] = False,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Engine: also loads under later TensorRT versions.")
    ] = False,
    hardware_compatibility: Annotated[
        Literal["none", "ampere_plus", "same_compute_capability"],
        typer.Option("--hardware-compatibility", help="Engine: which other GPUs it also runs on."),
    ] = "none",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Engine: build even if it is up to date.")] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Turn a checkpoint into an ONNX file that is proved to be as good, and that into a TensorRT engine."""
    wait_passively()
    from ce2p.cli.arguments import batch_size, batch_sizes, gate_limits, image_size
    from ce2p.cli.preflight import backend_names

    size, judges = image_size(imgsz) if imgsz else None, backend_names(backend, "--backend", for_exports=True)
    limits = gate_limits(gate or ())
    refuse_ignored(context, EXPORT)
    kernels = target or ("tensorrt" if format_ == "engine" else "cpu")
    options = {
        "imgsz": size,
        "batch": batch_size(batch or "1"),
        "input_kind": input_kind,
        "output_kind": output_kind,
        "edge": edge,
        "fold": fold,
        "dataset": dataset,
        "stride": stride,
        "family": family,
        "random": random,
        "seed": seed,
        "precision": precision,
        "io": io,
        "target": kernels,
        "calib": calib,
        "calib_count": calib_count,
        "calib_method": calib_method,
        "data": data,
        "gate": limits,
        "gate_count": gate_count,
        "backends": judges,
        "search": search,
        "low_rank": low_rank,
    }
    if format_ == "onnx":
        _export(model, output, json=json, overwrite=overwrite, **options)
        return
    from ce2p.cli.engine import run as run_engine

    run_engine(
        model,
        output,
        json=json,
        overwrite=overwrite,
        export_options=options,
        batches=batch_sizes(batch),
        workspace=workspace,
        optimization_level=opt_level,
        plugins=not no_plugins,
        tf32=tf32,
        version_compatible=version_compatible,
        hardware_compatibility=hardware_compatibility,
        rebuild=rebuild,
    )


def _export(model: str, output: Path | None, *, json: str | None, overwrite: bool, **options: Any) -> None:
    """Export and report; `options` are those of `ce2p.export`. Raises CE2PError."""
    from .console import write_json
    from .export_report import report
    from .preflight import check_json

    check_json(json, [model], overwrite)
    exported = export_shown(model, output, overwrite=overwrite, **options)
    if json:
        write_json({"path": str(exported.path), **dataclasses.asdict(exported.metadata)}, json, "export")
    if json != "-":
        report(exported)


def export_shown(model: str, output: Path | None, **options: Any) -> Exported:
    """`ce2p.export`, with progress on the screen."""
    from ce2p.api.export import export as export_file

    from .console import step_bars

    with step_bars("done", announced=True) as progress:
        return export_file(model, output, progress=progress, **options)
