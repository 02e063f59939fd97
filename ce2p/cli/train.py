"""`ce2p train`: from data to a network, in one command that can be killed and resumed."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ce2p.data.annotations import read_labels
from ce2p.data.check import require_classes
from ce2p.data.layouts import Sample, describe, open_split
from ce2p.errors import ConfigError, DataError
from ce2p.labels import LabelSet, labels_in
from ce2p.models import CE2P
from ce2p.training.building import build_network, build_trainer
from ce2p.training.distributed import Processes, joined_processes
from ce2p.training.host_memory import keep_freed_memory
from ce2p.training.initial_weights import load_backbone, load_weights
from ce2p.training.loop import StepReport, Trainer
from ce2p.training.recipe import TrainConfig, resolve
from ce2p.training.run import Run, RunFolder, Validate

from .console import progress_bar, remark, say

__all__ = ["TrainRequest", "run"]


@dataclass(frozen=True)
class TrainRequest:
    """The command's options."""

    model: str
    """A model name, or a configuration file."""
    data: Path
    recipe: str | None
    overrides: Sequence[str]
    output: Path | None
    resume: bool
    init: Path | None
    backbone: Path | None
    device: str
    workers: int | None
    compiled: bool
    deterministic: bool
    validate_every: int
    validate_limit: int | None
    snapshot_minutes: float


def run(request: TrainRequest) -> None:
    """Train. Raises CE2PError; what was trained up to then is in the run's folder."""
    config = resolve(request.model, request.recipe, request.overrides)
    with joined_processes(request.device) as processes, ExitStack() as closing:
        if request.deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.backends.cudnn.benchmark = False
        if processes.device.type == "cpu":
            keep_freed_memory()
        labels = labels_for(config, request.data)
        samples = open_split(labels.dataset, request.data, "train")
        require_classes(labels, samples)
        trainer = _trainer(request, config, labels, samples, processes)
        folder = RunFolder(request.output or Path("runs") / f"{config.model}-{config.recipe}")
        validate = _validate(request, config, labels, folder, processes)
        # Last: what is wrong with data or options shows before the folder is claimed.
        state = folder.begin(config, samples, resume=request.resume) if processes.leads else None
        processes.wait()
        if request.resume and not processes.leads:
            state = folder.begin(config, samples, resume=True)
        training = Run(
            folder,
            trainer,
            labels,
            f"{len(samples)} pictures of {labels.title}",
            validate,
            request.validate_every,
            request.snapshot_minutes * 60,
        )
        if request.resume:
            _resume(training, state)
        _announce(training, request)
        if processes.leads:
            _show_progress(training, closing)
        _fit(training)
    if processes.leads:
        _report(training)


def _fit(training: Run) -> None:
    """Train, with the death of a data worker as one line: torch raises it wherever this process happens to be."""
    try:
        training.fit()
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise DataError(f"{str(error).splitlines()[0].rstrip('.')}; if memory ran out, use fewer --workers") from error


def labels_for(config: TrainConfig, data: Path) -> LabelSet:
    """The classes of a run: those of the data set in the model's name, or the custom data set's own."""
    return labels_in(config.dataset, data)


def _trainer(
    request: TrainRequest, config: TrainConfig, labels: LabelSet, samples: Sequence[Sample], processes: Processes
) -> Trainer:
    net = _network(request, config, labels, processes)
    workers = _workers(processes.device.type == "cuda") if request.workers is None else request.workers
    pixels = _class_pixels(samples, labels) if config.loss.class_weights else None
    return build_trainer(
        config, net, labels, samples, processes, workers=workers, class_pixels=pixels, compiled=request.compiled
    )


def _network(request: TrainRequest, config: TrainConfig, labels: LabelSet, processes: Processes) -> CE2P:
    """The network at the start of a run, with what was loaded into it said aloud."""
    net = build_network(config, labels)
    if request.init and request.backbone:
        raise ConfigError("--init and --backbone: both were given; --init brings a backbone along")
    notes: list[str] = []
    if request.init:
        notes = load_weights(net, request.init).lines()
    elif request.backbone:
        notes = load_backbone(net, request.backbone).lines()
    elif not request.resume:
        notes = ["starting from random weights; the published recipes start from ImageNet's: --backbone FILE"]
    if processes.leads:
        for note in notes:
            remark(note)
    return net


def _class_pixels(samples: Sequence[Sample], labels: LabelSet) -> Tensor:
    """Pixels of each class [C] in all annotations."""
    counts = torch.zeros(256, dtype=torch.int64)
    with progress_bar("pictures") as progress:
        task = progress.add_task("counting classes", total=len(samples), note="")
        for sample in samples:
            if sample.labels is not None:
                counts += torch.bincount(torch.from_numpy(read_labels(sample.labels)).flatten().long(), minlength=256)
            progress.advance(task)
    return counts[: labels.num_classes]


def _workers(on_gpu: bool) -> int:
    """Enough to feed a GPU; where the CPU trains, one, since it needs the cores itself."""
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(16, max(1, (os.cpu_count() or 1) // processes_here)) if on_gpu else 1


def _validate(
    request: TrainRequest, config: TrainConfig, labels: LabelSet, folder: RunFolder, processes: Processes
) -> Validate | None:
    if request.validate_every == 0 or not processes.leads:
        return None
    from ce2p.api.validation import validator

    try:
        samples = open_split(labels.dataset, request.data, "val")[: request.validate_limit]
    except DataError as error:
        raise DataError(f"{error}; or train without scores: --val-every 0") from None
    return validator(samples, labels, config.input_size, processes.device, folder.path / "pictures")


def _resume(training: Run, state: dict[str, Any] | None) -> None:
    if state is None:
        remark(f"{training.folder.path}: the run has no snapshot yet, so it begins anew")
        return
    training.restore(state)


def _announce(training: Run, request: TrainRequest) -> None:
    trainer = training.trainer
    if not trainer.processes.leads:
        return
    config, world = trainer.config, trainer.processes.world
    micro = trainer.sampler.micro_batches
    shares = f"{world} x {config.batch // world}" if world > 1 else str(config.batch)
    remark(
        f"{config.model}, recipe {config.recipe} ({config.family}), {training.data}, "
        f"{config.input_size[0]}x{config.input_size[1]}, batch {shares}"
        + (f" in {micro} parts" if micro > 1 else "")
        + f", {config.epochs} epochs of {trainer.steps_per_epoch} steps, "
        + f"{config.precision} on {trainer.processes.device}"
    )
    if request.resume and trainer.steps_done:
        remark(f"resumed after step {trainer.steps_done}, in epoch {trainer.position.epoch + 1}")
    remark(f"training data: {describe(trainer.config.dataset, request.data, 'train')}")
    remark(f"everything goes to {training.folder.path}/")


def _show_progress(training: Run, closing: ExitStack) -> None:
    """A bar on a terminal; elsewhere a line per epoch."""
    progress = closing.enter_context(progress_bar("steps"))
    trainer = training.trainer
    total = trainer.config.epochs * trainer.steps_per_epoch
    task = progress.add_task("training", total=total, completed=trainer.steps_done, note="")

    def stepped(report: StepReport) -> None:
        losses = ", ".join(f"{name} {value:.3f}" for name, value in report.losses.items())
        note = (
            f"epoch {report.epoch + 1}/{trainer.config.epochs}, {losses}, {report.pictures_per_second:.1f} pictures/s, "
            f"{report.waiting:.0%} waiting for data, {_memory(trainer.processes.device)}"
        )
        progress.update(task, completed=report.step, note=note)
        if progress.disable and report.step % trainer.steps_per_epoch == 0:
            remark(f"step {report.step} of {report.total_steps}: {note}")

    def scored(epoch: int, scores: Mapping[str, float], best: bool) -> None:
        mark = ", the best so far" if best else ""
        say(f"epoch {epoch + 1}: mIoU {scores['mean_iou']:.4f}, pixel accuracy {scores['pixel_accuracy']:.4f}{mark}")

    training.on_step, training.on_scores = stepped, scored


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB on the GPU"
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"


def _report(training: Run) -> None:
    folder = training.folder.path
    say(f"trained {training.trainer.config.epochs} epochs; {folder}/last.safetensors")
    best = folder / "best.safetensors"
    if best.exists():
        say(f"best mIoU {training.best:.4f}: {best}")
        say(f"next: ce2p val {best} --data DIR; ce2p export {best}")
