"""Scores on a data set with truth: `ce2p.score`. Only networks and checkpoints need torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ce2p.data.splits import Sample, open_split, recognise
from ce2p.datasets import Published, names_of, published
from ce2p.errors import ConfigError, DataError
from ce2p.evaluation.instance_scores import InstanceScores
from ce2p.evaluation.instance_scoring import score_instances as score_results
from ce2p.evaluation.scores import Scores
from ce2p.evaluation.scoring import check_classes, read_pair
from ce2p.evaluation.scoring import score as score_samples
from ce2p.evaluation.sheets import beside, sheet
from ce2p.labels import LabelSet, label_set, labels_in
from ce2p_runtime import HumanParser
from ce2p_runtime.backends import Backend, check_threads, open_backend
from ce2p_runtime.backends.averaging import AveragedBackend
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.media.pictures import write_picture
from ce2p_runtime.model_files.engine_file import ENGINE_SUFFIXES

from .notes import note

if TYPE_CHECKING:  # it loads torch, which exported files do without
    from ce2p_export import SourceModel

_WORST = 12
"""Pictures on the sheet of the worst."""


@dataclass(frozen=True)
class Scored:
    """What a network reached, beside what was published for networks of its kind."""

    scores: Scores
    published: tuple[Published, ...]
    """Empty where nothing is known."""
    scored_on: str
    """Which pictures, in words."""

    @property
    def miou(self) -> float:
        """Mean IoU over all classes, 0 to 1, as published (`Scores.mean_iou`)."""
        return self.scores.mean_iou

    @property
    def pixel_accuracy(self) -> float:
        """Share of all counted pixels labelled right, 0 to 1."""
        return self.scores.pixel_accuracy

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return self.scores.to_json(self.published)

    def to_markdown(self) -> str:
        """Tables for people."""
        return self.scores.to_markdown(self.published)


@dataclass(frozen=True)
class ScoredInstances:
    """What results with people and their parts reached, beside what was published."""

    scores: InstanceScores
    published: tuple[Published, ...]
    scored_on: str

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return self.scores.to_json(self.published)

    def to_markdown(self) -> str:
        """Tables for people."""
        return self.scores.to_markdown(self.published)


def score(
    model: str | Path | SourceModel,
    data: str | Path,
    *,
    dataset: str | None = None,
    split: str = "val",
    imgsz: tuple[int, int] | None = None,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    batch: int = 1,
    limit: int | None = None,
    stride: int | None = None,
    trust_engine: bool = False,
    worst: str | Path | None = None,
    progress: Progress = without_progress,
) -> Scored:
    """Parse a split of a data set in its published layout and compare every label with the truth.

        ce2p.score("lip_int8_473x473.onnx", "LIP").miou

    `model`: an ONNX file or engine, a checkpoint, or a network from `load`. `dataset`: whose classes (None: the
    model's own). `imgsz`: (height, width) for networks; exported files have their own. `flip` and `scales` average
    mirrored and scaled passes, `batch` frames at once. `limit`: only the first pictures. `stride`: for checkpoints that
    do not tell. `worst`: a picture file for the worst-scored ones beside their truth. Raises CE2PError and
    CE2PRuntimeError.
    """
    root = _folder(data)
    with ExitStack() as closing:
        parser = closing.enter_context(
            _open(
                model,
                size=imgsz,
                flip=flip,
                scales=tuple(scales),
                backend=backend,
                device=device,
                threads=threads,
                batch=batch,
                dataset=dataset,
                stride=stride,
                trust_engine=trust_engine,
            )
        )
        note(str(parser))
        labels = labels_in(dataset or parser.metadata.dataset, root)
        check_classes(parser.metadata, parser.name, labels)
        samples, described = _samples(root, labels, split, limit)
        if parser.metadata.untrained:
            note("note: these weights are untrained: the scores mean nothing")
        scores = score_samples(parser, samples, labels, progress)
        scores = dataclasses.replace(scores, model=f"{scores.model}; {described}")
        if worst is not None:
            _paint_worst(Path(worst), parser, scores, samples)
        metadata = parser.metadata
        figures = published(
            metadata.family, labels.dataset, str(metadata.extra.get("backbone")), metadata.output_stride
        )
        return Scored(scores, figures, described)


def score_instances(
    results: str | Path,
    data: str | Path,
    *,
    dataset: str | None = None,
    split: str = "val",
    limit: int | None = None,
    strict: bool = False,
    progress: Progress = without_progress,
) -> ScoredInstances:
    """Score the results of `ce2p people` on CIHP's truth: AP^r, AP^p, PCP and the class maps.

    `results`: the folder they are in. `strict`: AP^r takes each true part once at most. Raises CE2PError.
    """
    root = _folder(data)
    known = names_of(instances=True)
    layout = dataset or recognise(root) or known[0]
    if layout not in known:
        raise ConfigError(
            f"{root}: instances are scored on the layout of {' or '.join(known)}, this is {layout}; correct --data"
        )
    labels = label_set(layout)
    samples, described = _samples(root, labels, split, limit)
    scores = score_results(samples, Path(results), labels, strict=strict, progress=progress)
    scores = dataclasses.replace(scores, model=f"{scores.model}; {described}")
    return ScoredInstances(scores, published("mce2p", labels.dataset, "r101", 16), described)


def _folder(data: str | Path) -> Path:
    root = Path(data)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, expected a data set in its published layout; check the path")
    return root


def _open(
    model: str | Path | SourceModel,
    *,
    size: tuple[int, int] | None,
    flip: bool,
    scales: tuple[float, ...],
    backend: str,
    device: str,
    threads: int | None,
    batch: int,
    dataset: str | None,
    stride: int | None,
    trust_engine: bool,
) -> HumanParser:
    """The model as a parser, with the averaging asked for."""
    exported = isinstance(model, str | Path) and (Path(model).suffix in (".onnx", *ENGINE_SUFFIXES))
    name = Path(model).name if isinstance(model, str | Path) else model.stem
    if exported and stride is not None:
        raise ConfigError(f"--os {stride}: is for checkpoints, {name} knows its own; leave it out")
    with ExitStack() as closing:
        opened: Backend
        if exported and isinstance(model, str | Path):
            opened = open_backend(Path(model), backend, device, threads, trust_engine)
        else:
            opened = _in_torch(model, size, device, backend=backend, threads=threads, dataset=dataset, stride=stride)
        closing.callback(opened.close)
        own = opened.metadata.input_size
        if size is not None and size != own:
            raise ConfigError(
                f"{model}: takes {own[0]}x{own[1]} inputs, --imgsz {size[0]}x{size[1]} asked for; "
                "leave it out, or export the checkpoint at that size"
            )
        if flip or scales != (1.0,):
            opened = AveragedBackend(opened, flip=flip, scales=scales, batch=batch)
        parser = HumanParser.on(opened, name=name, batch=batch)
        closing.pop_all()
        return parser


def _in_torch(
    model: str | Path | SourceModel,
    size: tuple[int, int] | None,
    device: str,
    *,
    backend: str,
    threads: int | None,
    dataset: str | None,
    stride: int | None,
) -> Backend:
    """A network, or a checkpoint's, in PyTorch."""
    if backend not in ("auto", "torch"):
        raise ConfigError(
            f"{model}: a checkpoint runs in PyTorch, --backend {backend} asked for; export it first, or leave the "
            "option out"
        )
    import torch

    from ce2p_export.torch_backend import TorchBackend

    from .models import source_of

    if threads is not None:
        check_threads(threads)
        torch.set_num_threads(threads)
    source = source_of(model, dataset=None if dataset == "custom" else dataset, stride=stride)
    return TorchBackend.of(source, size, device)


def _samples(root: Path, labels: LabelSet, split: str, limit: int | None) -> tuple[tuple[Sample, ...], str]:
    """The pictures to score, and which they are in words."""
    listed = open_split(labels.dataset, root, split)
    samples = listed[:limit]
    part = f"the first {len(samples)} of " if len(samples) < len(listed) else ""
    return samples, f"{part}{len(listed)} pictures of {labels.title}, split {split}"


def _paint_worst(path: Path, parser: HumanParser, scores: Scores, samples: Sequence[Sample]) -> None:
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
