"""The commands and their options. Each imports its work when it runs, so that `ce2p parse` needs no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ce2p_runtime.precisions import PRECISIONS

from .announcements import show_announcements
from .export import export
from .ignored_options import BENCHMARK, INSPECT, PEOPLE, VERIFY, refuse_ignored
from .learning import data_app, train, val
from .options import BACKEND_NAMES, Dataset, Json, Overwrite, PartScore, Stride, Threads
from .parsing import parse

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")
app.command()(export)
app.command()(train)
app.command()(val)
app.command()(parse)


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
def people(
    context: typer.Context,
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
    backend: Annotated[str, typer.Option(help=f"auto, {BACKEND_NAMES}.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
    threads: Threads = None,
    opacity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the overlay's colours.")] = 0.5,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Keep results that exist and write the others.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Parse pictures with several people: classes, people, and each person's parts."""
    refuse_ignored(context, PEOPLE)
    from ce2p.cli.people import run

    run(
        source,
        output,
        json=json,
        overwrite=overwrite,
        whole=whole,
        local=tuple(local or ()),
        instances=instances,
        detector=detector,
        detector_weights=detector_weights,
        save=frozenset(filter(None, save.split(","))),
        threshold=threshold,
        nms=nms,
        part_score=part_score.value,
        refine=refine,
        flip=flip,
        backend=backend,
        device=device,
        threads=threads,
        opacity=opacity,
        existing="skip" if skip_existing else "replace" if overwrite else "refuse",
    )


@app.command()
def inspect(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Checkpoint, exported ONNX file or engine.")],
    dataset: Dataset = None,
    stride: Stride = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Show what a file holds: family, classes, sizes, parameters, GFLOPs, provenance."""
    refuse_ignored(context, INSPECT)
    from ce2p.cli.inspect import run
    from ce2p.cli.preflight import check_json

    check_json(json, [file], overwrite)
    run(file, dataset, stride, json)


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
            help="Pictures, or a data set in its published layout (then also its truth). Default: drawn ones."
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
    trust_engine: Annotated[
        bool, typer.Option("--trust-engine", help="Load an engine that its .json was not written for; it runs code.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Judge whether an exported file labels pictures as the model it came from; ends with status 1 if not."""
    refuse_ignored(context, VERIFY)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch starts its threads: see `demo`
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
    size: Annotated[str, typer.Option(help="Height x width of the drawn frames.")] = "1080x1920",
    source: Annotated[
        Path | None, typer.Option(help="Video or pictures to time with, instead of drawn frames.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Timed passes of every candidate; p99 wants 100.")] = 15,
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
    # Before torch starts its threads: by default they wait for each other by spinning, and other load here
    # then slows training tenfold and more (measured on 2 cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ce2p.cli.demo import run

    run(output, epochs, seed)
