"""The commands and their options. Each imports its work when it runs, so that `ce2p parse` needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ce2p_runtime.precisions import PRECISIONS

from .announcements import show_announcements
from .data import data_app
from .export import export
from .ignored_options import BENCHMARK, VERIFY, refuse_ignored
from .inspect import inspect
from .options import BACKEND_NAMES, Dataset, Device, Json, Overwrite, Stride, Threads, TrustEngine, wait_passively
from .parse import parse
from .people import people
from .train import train
from .val import val

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(data_app, name="data")
app.command()(export)
app.command()(train)
app.command()(val)
app.command()(parse)
app.command()(people)
app.command()(inspect)


def _show_version(asked: bool) -> None:
    if asked:
        from ce2p.cli.version import run

        run()
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Versions, and nothing else.")
    ] = False,
) -> None:
    """Human parsing with CE2P networks: training, proven ONNX files and TensorRT engines, pictures and video."""
    show_announcements()


@app.command()
def doctor(overwrite: Overwrite = False, json: Json = None) -> None:
    """Check what is installed, what is missing or in conflict, and say the cure."""
    from ce2p.cli.doctor import run
    from ce2p.cli.preflight import check_json

    check_json(json, [], overwrite)
    run(json)


@app.command()
def verify(
    context: typer.Context,
    reference: Annotated[Path, typer.Argument(help="What it came from: checkpoint, ONNX file or engine.")],
    candidate: Annotated[Path, typer.Argument(help="ONNX file or engine to judge.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Pictures, or a data set in its published layout (then also its truth). Default: synthetic people."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Pictures, evenly spread over those that there are.")] = 32,
    backend: Annotated[str, typer.Option(help=f"Of the candidate: auto, {BACKEND_NAMES}.")] = "auto",
    device: Annotated[str, typer.Option(help="Of the candidate: auto, cpu, cuda, cuda:N.")] = "auto",
    threads: Threads = None,
    precision: Annotated[
        str | None, typer.Option(help=f"Judge by the limits of {', '.join(PRECISIONS)}. Default: the candidate's own.")
    ] = None,
    dataset: Dataset = None,
    stride: Stride = None,
    output: Annotated[Path | None, typer.Option("-o", help="Folder for gate.json and the worst picture.")] = None,
    trust_engine: TrustEngine = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Judge whether an exported file labels pictures as the model it came from; ends with status 1 if not."""
    refuse_ignored(context, VERIFY)
    wait_passively()
    from ce2p.cli.verify import run

    run(
        reference,
        candidate,
        output=output,
        json=json,
        overwrite=overwrite,
        data=data,
        limit=limit,
        backend=backend,
        device=device,
        threads=threads,
        precision=precision,
        dataset=dataset,
        stride=stride,
        trust_engine=trust_engine,
    )


@app.command()
def benchmark(
    context: typer.Context,
    models: Annotated[
        list[Path],
        typer.Argument(help="ONNX files or engines made by `ce2p export`; with --compare also a saved result."),
    ],
    backends: Annotated[
        str | None,
        typer.Option(help=f"Comma-separated: auto, {BACKEND_NAMES}. Default: every installed one that takes the file."),
    ] = None,
    device: Device = "auto",
    size: Annotated[str, typer.Option(help="Height x width of the drawn frames.")] = "1080x1920",
    source: Annotated[
        Path | None, typer.Option(help="Video or pictures to time with, instead of drawn frames.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Timed passes of every candidate; p99 needs 100.")] = 15,
    warmup: Annotated[int, typer.Option(help="Passes before them that do not count.")] = 3,
    threads: Threads = None,
    batches: Annotated[str, typer.Option(help="Throughput: batch sizes, for files with a dynamic batch.")] = "1,4,16",
    throughput: Annotated[
        bool, typer.Option("--throughput/--no-throughput", help="Measure frames per second, over batches and streamed.")
    ] = True,
    reference: Annotated[
        Path | None, typer.Option(help="What labels are compared with. Default: the first fp32 model, else the first.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Pictures or data set to compare labels on. Default: synthetic people.")
    ] = None,
    gate: Annotated[bool, typer.Option("--gate/--no-gate", help="Judge every candidate's labels.")] = True,
    output: Annotated[Path | None, typer.Option("-o", help="Folder for JSON, CSV, Markdown and plots.")] = None,
    compare: Annotated[
        Path | None, typer.Option(help="An earlier result (JSON) to compare with; status 1 for a regression.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="With --compare: per cent by which times may differ.")] = 5.0,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Time models on every backend, interleaved, from frame to labels, with the gate's verdict on their labels."""
    refuse_ignored(context, BENCHMARK)
    from ce2p.cli.arguments import image_size, number_list
    from ce2p.cli.benchmark import run
    from ce2p.cli.preflight import backend_names

    fine = run(
        models,
        output=output,
        json=json,
        compare=compare,
        tolerance=tolerance / 100,
        overwrite=overwrite,
        backends=backend_names(backends, "--backends"),
        device=device,
        size=image_size(size, "--size"),
        source=source,
        rounds=rounds,
        warmup=warmup,
        threads=threads,
        batches=number_list(batches, "--batches"),
        throughput=throughput,
        reference=reference,
        data=data,
        gate=gate,
    )
    if not fine:
        raise typer.Exit(1)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", help="Folder for everything the demo makes.")] = Path("demo-output"),
    epochs: Annotated[int, typer.Option(min=1, help="Of the tiny network's training.")] = 6,
    seed: Annotated[int, typer.Option(help="Of data, weights and training.")] = 0,
) -> None:
    """From nothing to a parsed video in a few minutes: synthetic people, a tiny network, export, pictures, timings."""
    wait_passively()
    from ce2p.cli.demo import run

    run(output, epochs, seed)
