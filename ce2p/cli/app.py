"""The commands and their options. Each imports its work when it runs, so that `ce2p parse` needs no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from .learning import data_app, train, val
from .options import (
    Dataset,
    Family,
    Format,
    Hardware,
    InputKind,
    Json,
    OutputKind,
    PartScore,
    Precision,
    Random,
    Stride,
)

__all__ = ["app"]

app = typer.Typer(
    help="Human parsing with CE2P networks: training, proven ONNX files and TensorRT engines, pictures and video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")
app.command()(train)
app.command()(val)


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(help="Checkpoint file, or a model name with --random; for an engine also an ONNX file."),
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
    ] = InputKind.float,
    output_kind: Annotated[
        OutputKind, typer.Option("--output", help="logits at 1/4 size, or labels at full size.")
    ] = OutputKind.logits,
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
        Format, typer.Option("--format", help="engine: an ONNX file first, then TensorRT's engine for this GPU.")
    ] = Format.onnx,
    precision: Annotated[
        Precision, typer.Option(help="Of weights and activations; inputs and outputs keep their types.")
    ] = Precision.fp32,
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
        Hardware, typer.Option("--hardware-compatibility", help="Engine: which other GPUs it also runs on.")
    ] = Hardware.none,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Engine: build even if it is up to date.")] = False,
    json: Json = None,
) -> None:
    """Turn a checkpoint into an ONNX file that proved its own parity, and that into a TensorRT engine."""
    from ce2p.cli.arguments import batch_size, batch_sizes, image_size
    from ce2p.cli.export import ExportRequest, run

    size = image_size(imgsz) if imgsz else None
    request = ExportRequest(
        model, size, batch_size(batch or "1"), input_kind.value, output_kind.value, edge, fold, output,
        dataset, stride, family, random, seed, json, precision.value,
    )  # fmt: skip
    if format_ is Format.onnx:
        run(request)
        return
    from ce2p.cli.engine import EngineRequest
    from ce2p.cli.engine import run as run_engine

    run_engine(
        request,
        EngineRequest(
            batch_sizes(batch), workspace, opt_level, not no_plugins, tf32, version_compatible,
            hardware_compatibility.value, rebuild,
        ),
    )  # fmt: skip


@app.command()
def parse(
    source: Annotated[str, typer.Argument(help="Picture, folder, glob (quoted) or video file.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="ONNX file or TensorRT engine made by `ce2p export`.")],
    output: Annotated[Path, typer.Option("-o", help="Folder for the results.")] = Path("parsed"),
    save: Annotated[
        str, typer.Option(help="What to write, comma-separated: overlay, labels, masks.")
    ] = "overlay,labels",
    backend: Annotated[
        str, typer.Option(help="auto, onnxruntime, openvino, tensorrt (engines) or tensorrt-rtx.")
    ] = "auto",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N; a device asked for fails rather than falls back.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the network.")] = None,
    opacity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the overlay's colours.")] = 0.5,
    trust_engine: Annotated[
        bool, typer.Option("--trust-engine", help="Load an engine that its .json was not written for; it runs code.")
    ] = False,
    json: Json = None,
) -> None:
    """Parse pictures or a video: overlays, label maps, masks."""
    from ce2p.cli.parse import run

    run(source, model, output, save, backend, device, threads, opacity, trust_engine, json)


@app.command()
def people(
    source: Annotated[str, typer.Argument(help="Picture, folder or glob (quoted).")],
    whole: Annotated[Path | None, typer.Option("--global", help="Network for the whole picture.")] = None,
    local: Annotated[
        list[Path] | None, typer.Option("--local", help="Network for one person's box; repeatable.")
    ] = None,
    instances: Annotated[
        Path | None, typer.Option(help="Who is where: COCO JSON, or a folder of <name>.png with person ids.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="maskrcnn: look for people with torchvision (needs torch).")
    ] = None,
    detector_weights: Annotated[
        Path | None, typer.Option(help="Its weights. Default: COCO's, downloaded once.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", help="Folder for the results.")] = Path("people"),
    save: Annotated[str, typer.Option(help="What to write, comma-separated: overlay, results.")] = "overlay,results",
    threshold: Annotated[
        float | None, typer.Option(help="Smallest score of a person. Default: 0.7, with --mask-nms 0.5.")
    ] = None,
    nms: Annotated[bool, typer.Option("--mask-nms", help="Disjoint masks by score, as SCHP does.")] = False,
    part_score: Annotated[
        PartScore, typer.Option(help="logit (M-CE2P), or weighted by the person's score (SCHP).")
    ] = PartScore.logit,
    refine: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Grow parts into what the masks left out.")
    ] = True,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored picture.")] = False,
    backend: Annotated[str, typer.Option(help="auto, onnxruntime, openvino.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the networks.")] = None,
    opacity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the overlay's colours.")] = 0.5,
    json: Json = None,
) -> None:
    """Parse pictures with several people: classes, people, and each person's parts."""
    from ce2p.cli.people import PeopleRequest, run

    run(
        PeopleRequest(
            source, whole, tuple(local or ()), instances, detector, detector_weights, output,
            frozenset(filter(None, save.split(","))), threshold, nms, part_score.value, refine, flip, backend, device,
            threads, opacity, json,
        )
    )  # fmt: skip


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Checkpoint, exported ONNX file or engine.")],
    dataset: Dataset = None,
    stride: Stride = None,
    json: Json = None,
) -> None:
    """Show what a file holds: family, classes, sizes, parameters, GFLOPs, provenance."""
    from ce2p.cli.inspect import run

    run(file, dataset, stride, json)


@app.command()
def doctor(json: Json = None) -> None:
    """Check what is installed, what is missing or in conflict, and say the cure."""
    from ce2p.cli.doctor import run

    run(json)


@app.command()
def benchmark(
    models: Annotated[list[Path], typer.Argument(help="ONNX files or engines made by `ce2p export`.")],
    backends: Annotated[
        str | None, typer.Option(help="Comma-separated. Default: every installed one that takes the file.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
    size: Annotated[str, typer.Option(help="Height x width of the frames.")] = "1080x1920",
    rounds: Annotated[int, typer.Option(help="Timed passes of every candidate.")] = 15,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the network.")] = None,
    json: Json = None,
) -> None:
    """Time models on every backend, interleaved, from frame to labels, and compare their labels."""
    from ce2p.cli.arguments import image_size
    from ce2p.cli.benchmark import BenchmarkRequest, run

    names = tuple(backends.split(",")) if backends else ()
    run(BenchmarkRequest(models, names, device, image_size(size, "--size"), rounds, threads, json))


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", help="Folder for everything the demo makes.")] = Path("demo-output"),
    epochs: Annotated[int, typer.Option(min=1, help="Of the tiny network's training.")] = 6,
    seed: Annotated[int, typer.Option(help="Of data, weights and training.")] = 0,
) -> None:
    """From nothing to a parsed video in a few minutes: synthetic people, a tiny network, export, pictures, timings."""
    # Before torch starts its threads: by default they wait for each other by spinning, and other load here
    # then slows training tenfold and more (measured on 2 cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ce2p.cli.demo import run

    run(output, epochs, seed)
