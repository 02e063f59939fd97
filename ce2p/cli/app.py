"""The commands and their options. Each imports its work when it runs, so that `ce2p parse` needs no torch."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    help="Deploy CE2P human-parsing networks: checkpoints to proven ONNX files, parsed pictures and video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[
    str | None, typer.Option("--json", metavar="[FILE]", help="Machine-readable result, to FILE or standard output.")
]
Dataset = Annotated[
    str | None, typer.Option(help="Label set: lip, cihp, atr, ppp, voc, mhp. Default: told from the class count.")
]
Stride = Annotated[int | None, typer.Option("--os", help="Output stride 8 or 16, for checkpoints that do not tell.")]
Family = Annotated[str | None, typer.Option(help="With --random: ssseg (default), ssseg-2020, ce2p, schp, mce2p.")]
Random = Annotated[
    bool, typer.Option("--random", help="MODEL is a name such as lip-r101-os16; use random weights, marked untrained.")
]


class Format(str, Enum):
    onnx = "onnx"


class Precision(str, Enum):
    fp32 = "fp32"


class InputKind(str, Enum):
    float = "float"
    uint8 = "uint8"


class OutputKind(str, Enum):
    logits = "logits"
    labels = "labels"


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Checkpoint file, or a model name with --random.")],
    imgsz: Annotated[
        str | None, typer.Option(help="Input side, or height and width. Default: the family's own.")
    ] = None,
    batch: Annotated[
        str, typer.Option(help="Batch size; `dynamic` or several sizes (1,4,16) for a dynamic one.")
    ] = "1",
    input_kind: Annotated[
        InputKind, typer.Option("--input", help="float: normalised NCHW. uint8: BGR pixels NHWC.")
    ] = InputKind.float,
    output_kind: Annotated[
        OutputKind, typer.Option("--output", help="logits at 1/4 size, or labels at full size.")
    ] = OutputKind.logits,
    edge: Annotated[bool, typer.Option("--edge", help="Keep the edge logits as a second output.")] = False,
    fold: Annotated[bool, typer.Option("--fold/--no-fold", help="Apply the exact folds.")] = True,
    output: Annotated[Path | None, typer.Option("-o", help="File to write. Default: <stem>_fp32_<H>x<W>.onnx.")] = None,
    dataset: Dataset = None,
    stride: Stride = None,
    family: Family = None,
    random: Random = False,
    seed: Annotated[int, typer.Option(help="With --random.")] = 0,
    format_: Annotated[Format, typer.Option("--format")] = Format.onnx,
    precision: Annotated[Precision, typer.Option()] = Precision.fp32,
    json: Json = None,
) -> None:
    """Turn a checkpoint into an ONNX file that proved its own parity."""
    from ce2p.cli.arguments import batch_size, image_size
    from ce2p.cli.export import ExportRequest, run

    size = image_size(imgsz) if imgsz else None
    run(
        ExportRequest(
            model, size, batch_size(batch), input_kind.value, output_kind.value, edge, fold, output,
            dataset, stride, family, random, seed, json,
        )
    )  # fmt: skip


@app.command()
def parse(
    source: Annotated[str, typer.Argument(help="Picture, folder, glob (quoted) or video file.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="ONNX file made by `ce2p export`.")],
    output: Annotated[Path, typer.Option("-o", help="Folder for the results.")] = Path("parsed"),
    save: Annotated[
        str, typer.Option(help="What to write, comma-separated: overlay, labels, masks.")
    ] = "overlay,labels",
    backend: Annotated[str, typer.Option(help="auto, onnxruntime or openvino.")] = "auto",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N; a device asked for fails rather than falls back.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the network.")] = None,
    opacity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the overlay's colours.")] = 0.5,
    json: Json = None,
) -> None:
    """Parse pictures or a video: overlays, label maps, masks."""
    from ce2p.cli.parse import run

    run(source, model, output, save, backend, device, threads, opacity, json)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Checkpoint or exported ONNX file.")],
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
def demo(
    output: Annotated[Path, typer.Option("-o", help="Folder for everything the demo makes.")] = Path("demo-output"),
    iterations: Annotated[int, typer.Option(min=10, help="Training steps of the tiny network.")] = 700,
    seed: Annotated[int, typer.Option(help="Of data, weights and training.")] = 0,
) -> None:
    """From nothing to a parsed video in a few minutes: synthetic people, a tiny network, export, pictures, timings."""
    # Before torch starts its threads: by default they wait for each other by spinning, and other load here
    # then slows training tenfold and more (measured on 2 cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ce2p.cli.demo import run

    run(output, iterations, seed)
