"""A run: a folder that holds its configuration, snapshots, logs and networks, and the way from there to a trainer.

RUN/config.yaml          the resolved configuration; `ce2p train RUN/config.yaml` trains the same again
RUN/data.json            which pictures it trains on
RUN/snapshots/           to go on after an interruption: the last two
RUN/losses.csv, scores.csv, tensorboard/
RUN/pictures/            predictions after each validation
RUN/last.safetensors     the network as it is; best.safetensors: with the best mIoU so far
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.base.text import first_line
from ce2p_runtime.errors import MediaError

from ..checkpoints import save_checkpoint
from ..data.splits import Sample
from ..errors import CE2PError, CheckpointError, ConfigError
from ..labels import LabelSet
from ..models import CE2P
from .logs import RunLogs
from .loop import Position, StepReport, Trainer
from .recipe import TrainConfig, to_yaml
from .recipe_files import read_text
from .snapshot import check_state, latest_snapshot, read_snapshot, write_snapshot

_ANEW = "bring it back, or start another run with -o"

Validate = Callable[[CE2P, int], Mapping[str, float]]
"""(network in eval mode, epoch) -> scores by name, `mean_iou` among them."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run and its files."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots"

    def begin(self, config: TrainConfig, samples: Sequence[Sample], *, resume: bool) -> dict[str, Any] | None:
        """Claim the folder for a new run, or find the snapshot of the old one (None where there is none yet).

        Raises ConfigError where a run would be overwritten, or resumed with another configuration or other pictures.
        """
        text, data = to_yaml(config), _fingerprint(samples)
        if not self.config.exists():
            if resume:
                raise ConfigError(f"{self.path}: no run to resume (no config.yaml); leave out --resume to start one")
            self.path.mkdir(parents=True, exist_ok=True)
            with atomic_path(self.path / "data.json") as temporary:
                temporary.write_text(json.dumps(data) + "\n")
            with atomic_path(self.config) as temporary:
                temporary.write_text(text)
            return None
        if not resume:
            raise ConfigError(f"{self.path}: holds a run already; --resume goes on with it, -o names another folder")
        _same_config(self.config, text, self.path / "last.safetensors")
        _same_pictures(self.path / "data.json", data)
        for leftover in (*self.snapshots.glob(".step-*"), *self.path.glob(".*.safetensors")):
            leftover.unlink()
        newest = latest_snapshot(self.snapshots)
        return read_snapshot(newest) if newest else None


@dataclass
class TrainingRun:
    """The observer of a trainer that keeps its run: saves, logs, validates."""

    folder: RunFolder
    trainer: Trainer
    labels: LabelSet
    data: str
    """What it trains on, in words."""
    validate: Validate | None
    validate_every: int = 1
    snapshot_seconds: float = 600
    on_step: Callable[[StepReport], object] = lambda report: None
    on_scores: Callable[[int, Mapping[str, float], bool], object] = lambda epoch, scores, best: None
    best: float = -1.0
    _saved_at: float = field(default_factory=time.monotonic)
    _logs: RunLogs | None = None

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot. Raises CheckpointError where it is none of this run."""
        try:
            # Of the optimiser only its memory of the steps: how it steps is the configuration's to say.
            expected = self.trainer.state() | {"best": self.best, "optimiser": state["optimiser"]}
            check_state(state, expected)
            self.trainer.restore(state)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError) as error:
            reason = first_line(error)
            raise CheckpointError(
                f"{latest_snapshot(self.folder.snapshots)}: is no snapshot of this run ({reason:.300}); remove it to "
                "resume from the one before it"
            ) from None
        self.best = state["best"]

    def fit(self) -> None:
        """Train to the end. Raises CE2PError."""
        leads = self.trainer.processes.leads
        self._logs = RunLogs(self.folder.path, self.trainer.steps_done) if leads else None
        try:
            if self.trainer.steps_done == 0:
                self._snapshot()
            self.trainer.fit(self)
        finally:
            if self._logs is not None:
                self._logs.close()

    def stepped(self, report: StepReport) -> None:
        if self._logs is not None:
            self._logs.losses(report)
            self.on_step(report)

    def moved(self, position: Position) -> None:
        if position.step == 0 or time.monotonic() - self._saved_at >= self.snapshot_seconds:
            self._snapshot()

    def epoch_ended(self, epoch: int) -> None:
        done = epoch + 1
        last = done == self.trainer.config.epochs
        due = self.validate_every > 0 and done % self.validate_every == 0
        if self._logs is not None and (last or due):
            self._score(epoch)
        self.trainer.processes.wait()

    def _score(self, epoch: int) -> None:
        net = self.trainer.deployable()
        self._save(net, "last", epoch)
        if self.validate is None or self._logs is None:
            return
        net.eval()
        scores = self.validate(net, epoch)
        net.train(net is self.trainer.net)
        self._logs.scores(self.trainer.steps_done, epoch, scores)
        better = scores["mean_iou"] > self.best
        if better:
            self.best = scores["mean_iou"]
            self._save(net, "best", epoch, scores)
        self.on_scores(epoch, scores, better)

    def _save(self, net: CE2P, name: str, epoch: int, scores: Mapping[str, float] | None = None) -> None:
        config = self.trainer.config
        words = f"trained {epoch + 1} of {config.epochs} epochs on {self.data} (recipe {config.recipe})"
        facts = {
            "model": config.model,
            "recipe": config.recipe,
            "epochs": epoch + 1,
            "input_size": list(config.input_size),
            "scores": dict(scores or {}),
        }
        try:
            save_checkpoint(self.folder.path / f"{name}.safetensors", net, self.labels, words, facts)
        except (MediaError, OSError) as error:
            raise CE2PError(f"{error}; snapshots are whole, so --resume goes on") from None

    def _snapshot(self) -> None:
        if self.trainer.processes.leads:
            self.trainer.check_finite()  # or two of these would push out the last one that is worth resuming
            state = self.trainer.state() | {"best": self.best}
            write_snapshot(self.folder.snapshots, self.trainer.steps_done, state)
        self._saved_at = time.monotonic()


def _fingerprint(samples: Sequence[Sample]) -> dict[str, Any]:
    """What decides which picture has which number."""
    names = "\n".join(sample.name for sample in samples)
    return {"pictures": len(samples), "sha256_of_names": hashlib.sha256(names.encode()).hexdigest()}


def _same_config(path: Path, now: str, last: Path) -> None:
    """Raises ConfigError with the first line in which the run's configuration at `path` is not `now`."""
    for old, new in zip([*read_text(path).splitlines(), ""], [*now.splitlines(), ""], strict=False):
        if old == new:
            continue
        cure = "leave out what changes it, or start another run with -o"
        if old.startswith("epochs:"):  # the learning rate has run out with them: going on would repeat nothing
            cure = f"a run's length is fixed; to train its network further, start another run with --init {last}"
        raise ConfigError(f"{path}: the run has {old.strip()!r:.100}, this command {new.strip()!r:.100}; {cure}")


def _same_pictures(path: Path, now: dict[str, Any]) -> None:
    """Raises ConfigError where the run trained on other pictures than `now` says."""
    try:
        was = from_json(read_text(path))
    except ValueError as error:
        raise ConfigError(f"{path}: is damaged ({error}), expected which pictures the run has; {_ANEW}") from None
    if not isinstance(was, dict) or was.keys() != now.keys() or type(was["pictures"]) is not int:
        raise ConfigError(f"{path}: does not say which pictures the run has, expected {', '.join(now)}; {_ANEW}")
    if was != now:
        raise ConfigError(
            f"{path.parent}: trained on {was['pictures']} pictures, --data has {now['pictures']} or others by name; "
            "give the same data set, or start another run with -o"
        )
