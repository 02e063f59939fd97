"""`ce2p val`: score a checkpoint, an ONNX file, an engine, or instance results on disk. Only checkpoints need torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ce2p.data.layouts import Sample, open_split, recognise
from ce2p.errors import ConfigError, DataError
from ce2p.evaluation.instance_scores import InstanceScores
from ce2p.evaluation.instances import score_instances
from ce2p.evaluation.published import Published, published
from ce2p.evaluation.scores import Scores, comparison_notes
from ce2p.labels import LabelSet, label_set, labels_in
from ce2p_runtime import HumanParser
from ce2p_runtime.averaging import AveragedBackend
from ce2p_runtime.backends import Backend, check_threads, open_backend
from ce2p_runtime.engine_file import ENGINE_SUFFIXES
from ce2p_runtime.files import atomic_path
from ce2p_runtime.media.pictures import write_picture

from .console import progress_bar, remark, say, table, write_json
from .preflight import check_json, check_report
from .scoring import check_classes, read_pair, score
from .sheets import beside, sheet

__all__ = ["ValRequest", "parse_scales", "run"]

_REPORT, _WORST_SHEET = ("scores.json", "scores.md"), "worst.jpg"
"""What goes into the folder of `-o`."""
_WORST = 12
"""Pictures on the sheet of the worst."""
_UNTRAINED = "these weights are untrained: the scores mean nothing"


@dataclass(frozen=True)
class ValRequest:
    """The command's options."""

    model: Path | None
    data: Path
    dataset: str | None = None
    split: str = "val"
    size: tuple[int, int] | None = None
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    batch: int = 1
    limit: int | None = None
    stride: int | None = None
    """Output stride, for checkpoints that do not tell."""
    instances: Path | None = None
    strict: bool = False
    """AP^r: each true part once at most."""
    output: Path | None = None
    json: str | None = None
    trust_engine: bool = False
    overwrite: bool = False


def run(request: ValRequest) -> None:
    """Score and report. Raises CE2PError."""
    inputs = [path for path in (request.model, request.instances) if path is not None]
    check_json(request.json, inputs, request.overwrite)
    check_report(request.output, _REPORT if request.instances else (*_REPORT, _WORST_SHEET), inputs, request.overwrite)
    if not request.data.is_dir():
        raise DataError(f"{request.data}: no such folder, expected a data set in its published layout; check the path")
    if request.instances is not None:
        _run_instances(request, request.instances)
        return
    if request.model is None:
        raise ConfigError("nothing to score; expected a MODEL, or --instances with a folder of results")
    if request.strict:
        raise ConfigError("--strict: is about AP^r, which is scored from results; add --instances FOLDER")
    with _open_parser(request, request.model) as parser:
        remark(str(parser))
        labels = _labels(request, parser.metadata.dataset)
        check_classes(parser.metadata, parser.name, labels)
        samples, note = _samples(request, labels)
        if parser.metadata.untrained:
            remark(f"note: {_UNTRAINED}")
        with _progress("scoring") as advance:
            scores = score(parser, samples, labels, advance)
        scores = dataclasses.replace(scores, model=f"{scores.model}; {note}")
        metadata = parser.metadata
        figures = published(
            metadata.family, labels.dataset, str(metadata.extra.get("backbone")), metadata.output_stride
        )
        if request.output is not None:
            _write(request.output, scores.to_json(figures), scores.to_markdown(figures))
            _write_worst(request.output / _WORST_SHEET, parser, scores, samples)
    if request.json:
        write_json(scores.to_json(figures), request.json, "val")
    if request.json != "-":
        _report(scores, figures, note)
        if request.output is not None:
            say(f"report and worst pictures: {request.output}/")


def parse_scales(text: str) -> tuple[float, ...]:
    """`0.75,1,1.25` -> (0.75, 1.0, 1.25). Raises ConfigError."""
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0.1 <= scale <= 10 for scale in scales) or len(set(scales)) < len(scales):
        raise ConfigError(f"--scales {text}: expected different numbers from 0.1 to 10, e.g. 0.75,1,1.25")
    return scales


def _open_parser(request: ValRequest, model: Path) -> HumanParser:
    """The model as a parser, with the averaging asked for."""
    exported = model.suffix == ".onnx" or model.suffix in ENGINE_SUFFIXES
    if exported and request.stride is not None:
        raise ConfigError(f"--os {request.stride}: is for checkpoints, {model.name} knows its own; leave it out")
    averaged = request.flip or request.scales != (1.0,)
    with ExitStack() as closing:
        backend = _exported(request, model) if exported else _checkpoint(request, model)
        closing.callback(backend.close)
        own = backend.metadata.input_size
        if request.size is not None and request.size != own:
            raise ConfigError(
                f"{model}: takes {own[0]}x{own[1]} inputs, --imgsz {request.size[0]}x{request.size[1]} asked for; "
                "leave it out, or export the checkpoint at that size"
            )
        if averaged:
            backend = AveragedBackend(backend, flip=request.flip, scales=request.scales, batch=request.batch)
        parser = HumanParser.on(backend, name=model.name, batch=request.batch)
        closing.pop_all()
        return parser


def _exported(request: ValRequest, model: Path) -> Backend:
    """An ONNX file or an engine."""
    return open_backend(model, request.backend, request.device, request.threads, request.trust_engine)


def _checkpoint(request: ValRequest, model: Path) -> Backend:
    """A checkpoint's network in PyTorch."""
    if request.backend not in ("auto", "torch"):
        raise ConfigError(
            f"{model}: a checkpoint runs in PyTorch, --backend {request.backend} asked for; export it first, or leave "
            "the option out"
        )
    import torch

    from ce2p.checkpoints import load_checkpoint
    from ce2p_export.torch_backend import TorchBackend

    if request.threads is not None:
        check_threads(request.threads)
        torch.set_num_threads(request.threads)
    dataset = None if request.dataset == "custom" else request.dataset
    loaded = load_checkpoint(model, dataset=dataset, output_stride=request.stride)
    for text in loaded.notes:
        remark(f"note: {text}")
    return TorchBackend.of(loaded, request.size, request.device)


def _labels(request: ValRequest, of_model: str) -> LabelSet:
    """The classes to score with: those of --dataset, else the model's own."""
    return labels_in(request.dataset or of_model, request.data)


def _samples(request: ValRequest, labels: LabelSet) -> tuple[tuple[Sample, ...], str]:
    """The pictures to score, and which they are in words."""
    listed = open_split(labels.dataset, request.data, request.split)
    samples = listed[: request.limit]
    part = f"the first {len(samples)} of " if len(samples) < len(listed) else ""
    return samples, f"{part}{len(listed)} pictures of {labels.title}, split {request.split}"


def _run_instances(request: ValRequest, results: Path) -> None:
    if request.model is not None:
        raise ConfigError("--instances scores results on disk, without a network; leave MODEL out")
    dataset = request.dataset or recognise(request.data) or "cihp"
    if dataset != "cihp":
        raise ConfigError(f"{request.data}: instances are scored on CIHP's layout, this is {dataset}; correct --data")
    labels = label_set(dataset)
    samples, note = _samples(request, labels)
    with _progress("scoring") as advance:
        scores = score_instances(samples, results, labels, strict=request.strict, progress=advance)
    scores = dataclasses.replace(scores, model=f"{scores.model}; {note}")
    figures = published("mce2p", labels.dataset, "r101", 16)
    if request.output is not None:
        _write(request.output, scores.to_json(figures), scores.to_markdown(figures))
    if request.json:
        write_json(scores.to_json(figures), request.json, "val")
    if request.json != "-":
        _report_instances(scores, figures, note)


def _report(scores: Scores, figures: Sequence[Published], note: str) -> None:
    table(f"Classes, {note}", ("class", "IoU %", "published", "accuracy %", "true pixels"), scores.class_rows(figures))
    table("Means over classes", ("score", "ours %", "published", "difference"), scores.mean_rows(figures))
    for line in comparison_notes(figures):
        say(line)


def _report_instances(scores: InstanceScores, figures: Sequence[Published], note: str) -> None:
    table(f"Classes, {note}", ("class", "AP^r %", "AP^r 0.5 %", "true parts"), scores.class_rows())
    table("IoU thresholds", ("threshold", "AP^r %", "AP^p %", "PCP %"), scores.threshold_rows())
    table("Together", ("score", "ours %", "published", "difference"), scores.mean_rows(figures))
    for line in (*comparison_notes(figures), scores.matching):
        say(line)


def _write(folder: Path, document: dict[str, Any], report: str) -> None:
    """The scores as JSON and as Markdown."""
    for name, text in zip(_REPORT, (json.dumps(document, indent=2) + "\n", report), strict=True):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, "utf-8")


def _write_worst(path: Path, parser: HumanParser, scores: Scores, samples: Sequence[Sample]) -> None:
    """The pictures with the lowest mean IoU, parsed once more, beside their truth."""
    by_name = {sample.name: sample for sample in samples}
    rows = []
    for picture in scores.worst(_WORST):
        image, truth = read_pair(by_name[picture.name], scores.labels)
        caption = f"{picture.name}  mIoU {picture.mean_iou:.3f}  pixel accuracy {picture.pixel_accuracy:.3f}"
        rows.append(beside(image, truth, parser(image), caption=caption))
    if not rows:
        raise DataError(f"{path}: no picture has a counted pixel, expected annotations other than 255 everywhere")
    write_picture(path, sheet(rows))


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a function of (done, total)."""
    with progress_bar("pictures") as progress:
        task = progress.add_task(title, total=None, note="")
        yield lambda done, total: progress.update(task, completed=done, total=total)
