"""`ce2p val`: its options, and the front door's scores of a model, or of results on disk, with their tables."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ce2p.errors import ConfigError

from .ignored_options import VAL, refuse_ignored
from .options import (
    BACKEND_NAMES,
    DataFolder,
    Dataset,
    Device,
    Json,
    Overwrite,
    Stride,
    Threads,
    TrustEngine,
    wait_passively,
)

if TYPE_CHECKING:  # they load NumPy and OpenCV, which the help of a command does without
    from ce2p.api.score import Scored, ScoredInstances

_REPORT, _WORST_SHEET = ("scores.json", "scores.md"), "worst.jpg"
"""What goes into the folder of `-o`."""


def val(
    context: typer.Context,
    data: DataFolder,
    model: Annotated[
        Path | None, typer.Argument(help="Checkpoint, ONNX file or engine; the file itself is scored.")
    ] = None,
    dataset: Dataset = None,
    split: Annotated[str, typer.Option(help="train, val or test, where it has annotations.")] = "val",
    imgsz: Annotated[
        str | None, typer.Option(help="Checkpoints: input side, or height and width. Default: as trained.")
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average with the mirrored picture; left and right exchanged.")
    ] = False,
    scales: Annotated[str, typer.Option(help="Checkpoints: average over these scales, e.g. 0.75,1,1.25.")] = "1",
    backend: Annotated[str, typer.Option(help=f"auto, {BACKEND_NAMES}; checkpoints: torch.")] = "auto",
    device: Device = "auto",
    threads: Threads = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures at a time, where the model takes several.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Score the first pictures only.")] = None,
    stride: Stride = None,
    instances: Annotated[
        Path | None, typer.Option(help="Instead of a model: results of `ce2p people`, scored as AP^r, AP^p and PCP.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="AP^r: a true part counts once, not as published.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", help="Folder for scores.json, scores.md, the worst pictures.")
    ] = None,
    trust_engine: TrustEngine = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Score a model on annotated pictures, beside the published figures of its row."""
    refuse_ignored(context, VAL)
    wait_passively()
    from .arguments import image_size

    of_both = {"dataset": dataset, "split": split, "limit": limit}
    of_networks = {
        "imgsz": image_size(imgsz) if imgsz else None,
        "flip": flip,
        "scales": parse_scales(scales),
        "backend": backend,
        "device": device,
        "threads": threads,
        "batch": batch,
        "stride": stride,
        "trust_engine": trust_engine,
    }
    run(
        model,
        data,
        instances=instances,
        strict=strict,
        output=output,
        json=json,
        overwrite=overwrite,
        **of_both,
        **({} if instances else of_networks),
    )


def run(
    model: Path | None,
    data: Path,
    *,
    instances: Path | None = None,
    strict: bool = False,
    output: Path | None = None,
    json: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> None:
    """Score a model, or the results in `instances`, and report. Raises CE2PError.

    `options` are those of `ce2p.score`, or of `ce2p.score_instances`.
    """
    from ce2p.api.score import score, score_instances

    from .console import say, step_bars
    from .preflight import check_json, check_report

    inputs = [path for path in (model, instances) if path is not None]
    written = _REPORT if instances else (*_REPORT, _WORST_SHEET)
    check_json(json, inputs, overwrite)
    check_report(output, written, inputs, overwrite)
    if instances is not None:
        if model is not None:
            raise ConfigError("--instances scores results on disk, without a network; leave MODEL out")
        with step_bars("pictures") as progress:
            of_people = score_instances(instances, data, strict=strict, progress=progress, **options)
        _deliver(of_people, output, json, lambda: _report_instances(of_people))
        return
    if model is None:
        raise ConfigError("nothing to score; expected a MODEL, or --instances with a folder of results")
    if strict:
        raise ConfigError("--strict: is about AP^r, which is scored from results; add --instances FOLDER")
    with step_bars("pictures") as progress:
        scored = score(model, data, worst=output and output / _WORST_SHEET, progress=progress, **options)
    _deliver(scored, output, json, lambda: _report(scored))
    if output is not None and json != "-":
        say(f"report and worst pictures: {output}/")


def parse_scales(text: str) -> tuple[float, ...]:
    """`0.75,1,1.25` -> (0.75, 1.0, 1.25). Raises ConfigError."""
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0.1 <= scale <= 10 for scale in scales) or len(set(scales)) < len(scales):
        raise ConfigError(f"--scales {text}: expected different numbers from 0.1 to 10, e.g. 0.75,1,1.25")
    return scales


def _deliver(
    scored: Scored | ScoredInstances, output: Path | None, json: str | None, report: Callable[[], None]
) -> None:
    """The scores as files in the folder of `-o`, as what `--json` asked for, and on the screen."""
    from ce2p_runtime.base.files import atomic_path

    from .console import write_json

    if output is not None:
        texts = (json_module.dumps(scored.to_dict(), indent=2) + "\n", scored.to_markdown())
        for name, text in zip(_REPORT, texts, strict=True):
            with atomic_path(output / name) as temporary:
                temporary.write_text(text, "utf-8")
    if json:
        write_json(scored.to_dict(), json, "val")
    if json != "-":
        report()


def _report(scored: Scored) -> None:
    from ce2p.evaluation.scores import comparison_notes

    from .console import say, table

    scores, figures = scored.scores, scored.published
    classes = scores.class_rows(figures)
    table(f"Classes, {scored.scored_on}", ("class", "IoU %", "published", "accuracy %", "true pixels"), classes)
    table("Means over classes", ("score", "ours %", "published", "difference"), scores.mean_rows(figures))
    for line in comparison_notes(figures):
        say(line)


def _report_instances(scored: ScoredInstances) -> None:
    from ce2p.evaluation.scores import comparison_notes

    from .console import say, table

    scores, figures = scored.scores, scored.published
    table(f"Classes, {scored.scored_on}", ("class", "AP^r %", "AP^r 0.5 %", "true parts"), scores.class_rows())
    table("IoU thresholds", ("threshold", "AP^r %", "AP^p %", "PCP %"), scores.threshold_rows())
    table("Together", ("score", "ours %", "published", "difference"), scores.mean_rows(figures))
    for line in (*comparison_notes(figures), scores.matching):
        say(line)
