"""From data to a network, in a run that can be killed and resumed: `ce2p.train`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ce2p.data.annotations import read_labels
from ce2p.data.check import require_classes
from ce2p.data.dataset import worker_deaths_named
from ce2p.data.splits import Sample, describe, open_split
from ce2p.errors import ConfigError, DataError
from ce2p.labels import LabelSet, labels_in
from ce2p.models import CE2P
from ce2p.training.building import build_network, build_trainer
from ce2p.training.distributed import joined_processes
from ce2p.training.initial_weights import load_backbone, load_weights
from ce2p.training.loop import StepReport
from ce2p.training.memory import keep_freed_memory
from ce2p.training.recipe import resolve
from ce2p.training.run import RunFolder, TrainingRun
from ce2p_runtime.base.progress import Progress, without_progress

from .notes import note
from .validation import validator


@dataclass(frozen=True)
class Trained:
    """A run that came to its end."""

    folder: Path
    epochs: int
    leads: bool
    """Whether this process is the one of those that trained together which wrote the files."""
    best_miou: float | None
    """Of `best`, on the pictures of --val-limit; None where nothing was scored."""

    @property
    def last(self) -> Path:
        """The checkpoint of the network as it is at the end."""
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path | None:
        """The checkpoint with the highest mIoU on the way; None where nothing was scored."""
        return None if self.best_miou is None else self.folder / "best.safetensors"


def train(
    model: str | Path,
    data: str | Path,
    *,
    recipe: str | None = None,
    overrides: Sequence[str] = (),
    output: str | Path | None = None,
    resume: bool = False,
    init: str | Path | None = None,
    backbone: str | Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    compiled: bool = False,
    deterministic: bool = False,
    validate_every: int = 10,
    validate_limit: int | None = None,
    snapshot_minutes: float = 10,
    progress: Progress = without_progress,
    on_step: Callable[[StepReport], object] = lambda report: None,
    on_scores: Callable[[int, Mapping[str, float], bool], object] = lambda epoch, scores, best: None,
) -> Trained:
    """Train a network on a data set in its published layout.

        trained = ce2p.train("lip-r101-os16", "LIP", recipe="schp", overrides=["epochs=100"], output="run")
        ce2p.export(trained.best)

    - `model`: a model's name, or a configuration file. `recipe`: ssseg (None), ce2p, schp, mce2p or tiny; `overrides`
      changes values of it, each as "optimiser.lr=0.02".
    - `output`: folder of the run; None: `runs/<model>-<recipe>`. One that holds a run is refused unless `resume`, which
      goes on from its last snapshot, bit by bit. Snapshots are written every `snapshot_minutes` and after each epoch.
    - `init`: fine-tune this checkpoint. `backbone`: start from ImageNet weights, the public file of the recipe's
      backbone.
    - `device`: auto, cpu, cuda or cuda:N; under torchrun every process trains its share of the batch. `workers`:
      processes that prepare data; None: up to 16 for a GPU, 1 for the CPU. `compiled`: torch.compile the network.
      `deterministic`: the same weights every time on a GPU, where torch can; slower.
    - `validate_every`: epochs between two scores, 0 for none, on the first `validate_limit` pictures of split val.
    - `progress` is told of the steps before training, `on_step` every few steps the losses, `on_scores` after scoring
      (epoch from 0, scores by name, whether they are the best so far). Only the leading process calls them.

    Raises ConfigError, DataError and CheckpointError for what was asked or given, CE2PError where training diverges;
    what was trained up to then is in the run's folder.
    """
    data = Path(data)
    config = resolve(str(model), recipe, overrides)
    with joined_processes(device) as processes:
        if deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.backends.cudnn.benchmark = False
        if processes.device.type == "cpu":
            keep_freed_memory()
        labels = labels_in(config.dataset, data)
        samples = open_split(labels.dataset, data, "train")
        require_classes(labels, samples)
        net = build_network(config, labels)
        initialised = _initialise(net, init, backbone, resume=resume)
        folder = RunFolder(Path(output or Path("runs") / f"{config.model}-{config.recipe}"))
        validate = None
        if processes.leads:
            for text in initialised:
                note(text)
            if validate_every:
                scored_on = _scored_on(labels, data, validate_limit)
                pictures = folder.path / "pictures"
                validate = validator(scored_on, labels, config.input_size, processes.device, pictures)
        else:
            progress = without_progress
        trainer = build_trainer(
            config,
            net,
            labels,
            samples,
            processes,
            workers=_workers(processes.device.type == "cuda") if workers is None else workers,
            class_pixels=_class_pixels(samples, labels, progress) if config.loss.class_weights else None,
            compiled=compiled,
        )
        # Last: what is wrong with data or options shows before the folder is claimed.
        state = folder.begin(config, samples, resume=resume) if processes.leads else None
        processes.wait()
        if resume and not processes.leads:
            state = folder.begin(config, samples, resume=True)
        run = TrainingRun(
            folder,
            trainer,
            labels,
            f"{len(samples)} pictures of {labels.title}",
            validate,
            validate_every=validate_every,
            snapshot_seconds=snapshot_minutes * 60,
            on_step=on_step,
            on_scores=on_scores,
        )
        if state is not None:
            run.restore(state)
        if processes.leads:
            for text in _introduction(run, data, resume=resume, found=state is not None):
                note(text)
        with worker_deaths_named():
            run.fit()
    return Trained(folder.path, config.epochs, processes.leads, run.best if run.best >= 0 else None)


def _initialise(net: CE2P, init: str | Path | None, backbone: str | Path | None, *, resume: bool) -> list[str]:
    """Load what the network starts from; what was loaded, in lines for users."""
    if init and backbone:
        raise ConfigError("--init and --backbone: both were given; --init brings a backbone along")
    if init:
        return load_weights(net, Path(init)).lines()
    if backbone:
        return load_backbone(net, Path(backbone)).lines()
    if resume:
        return []
    return ["starting from random weights; the published recipes start from ImageNet weights: add --backbone FILE"]


def _scored_on(labels: LabelSet, data: Path, limit: int | None) -> Sequence[Sample]:
    try:
        return open_split(labels.dataset, data, "val")[:limit]
    except DataError as error:
        raise DataError(f"{error}; or train without scores: --val-every 0") from None


def _workers(on_gpu: bool) -> int:
    """Enough to feed a GPU; where the CPU trains, one, since it needs the cores itself."""
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(16, max(1, (os.cpu_count() or 1) // processes_here)) if on_gpu else 1


def _class_pixels(samples: Sequence[Sample], labels: LabelSet, progress: Progress) -> Tensor:
    """Pixels of each class [C] in all annotations."""
    counts = torch.zeros(256, dtype=torch.int64)
    for done, sample in enumerate(samples, 1):
        if sample.labels is not None:
            counts += torch.bincount(torch.from_numpy(read_labels(sample.labels)).flatten().long(), minlength=256)
        progress("counting classes", done, len(samples))
    return counts[: labels.num_classes]


def _introduction(run: TrainingRun, data: Path, *, resume: bool, found: bool) -> list[str]:
    """What is about to be trained, in lines for users. `found`: a snapshot to resume from."""
    trainer = run.trainer
    config, world, micro = trainer.config, trainer.processes.world, trainer.sampler.micro_batches
    shares = f"{world} x {config.batch // world}" if world > 1 else str(config.batch)
    lines = [] if found or not resume else [f"{run.folder.path}: the run has no snapshot yet, so it starts anew"]
    lines.append(
        f"{config.model}, recipe {config.recipe} ({config.family}), {run.data}, "
        f"{config.input_size[0]}x{config.input_size[1]}, batch {shares}"
        + (f" in {micro} parts" if micro > 1 else "")
        + f", {config.epochs} epochs of {trainer.steps_per_epoch} steps, "
        + f"{config.precision} on {trainer.processes.device}"
    )
    if resume and trainer.steps_done:
        lines.append(f"resumed after step {trainer.steps_done}, in epoch {trainer.position.epoch + 1}")
    lines.append(f"training data: {describe(config.dataset, data, 'train')}")
    lines.append(f"the run is written to {run.folder.path}/")
    return lines
