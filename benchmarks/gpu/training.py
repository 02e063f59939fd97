"""Training on the GPU: pictures per second, the time that is spent waiting for data, and the mIoU that it buys.

    python -m benchmarks.gpu.training [--model lip-r101-os16] [--recipe ssseg] [--seconds 60] [--scored 0]

The recipe as published, batch and augmentation included, on synthetic people from random weights, once in bfloat16
and once in float32, each for so many seconds. The first report, whose steps tune and allocate, does not
count where there is a second one.
`--scored 0` leaves the mIoU out and measures the rate alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from benchmarks.gpu.parts import Part, Row, first_line, part_main
from benchmarks.gpu.torch_device import open_torch
from ce2p.data.splits import open_split
from ce2p.evaluation.scoring import score
from ce2p.labels import LabelSet, label_set
from ce2p.models import parse_model_name
from ce2p.synthetic import write_dataset
from ce2p.training.building import build_network, build_trainer
from ce2p.training.distributed import Processes
from ce2p.training.loop import Position, StepReport, Trainer
from ce2p.training.recipe import TrainConfig, resolve
from ce2p_export.torch_backend import TorchBackend
from ce2p_runtime import HumanParser

SIZE = (400, 320)
"""Of the synthetic pictures: about LIP's."""
SCORED = 40


class _TimeUpError(Exception):
    """Ends a run that has had its seconds."""


class Watch:
    """The observer of a timed run. Where it scores: about six times, at the ends of epochs, with the clock standing."""

    def __init__(
        self, part: Part, trainer: Trainer, data: Path, labels: LabelSet, seconds: float, *, scored: bool
    ) -> None:
        self._scored = scored
        self._part, self._trainer, self._labels, self._seconds = part, trainer, labels, seconds
        self._val = open_split(labels.dataset, data, "val")
        self._trained = self._last_score = 0.0
        self._since = time.perf_counter()
        self._reports: list[StepReport] = []

    def stepped(self, report: StepReport) -> None:
        self._reports.append(report)

    def moved(self, position: Position) -> None:
        if self._seconds_trained() >= self._seconds * (1 if len(self._reports) > 1 else 2) and self._reports:
            raise _TimeUpError

    def epoch_ended(self, epoch: int) -> None:
        if self._scored and self._seconds_trained() - self._last_score >= self._seconds / 6:
            self.row()

    def row(self) -> None:
        """A row of what was reached so far, made while the clock stands."""
        self._trained = self._last_score = self._seconds_trained()
        self._add()
        self._since = time.perf_counter()

    def _seconds_trained(self) -> float:
        return self._trained + time.perf_counter() - self._since

    def _add(self) -> None:
        trainer = self._trainer
        config, warm = trainer.config, self._reports[1:] or self._reports
        row: Row = {
            "training": f"{config.model}, {config.recipe}, {config.precision}, batch {config.batch}",
            "steps": trainer.steps_done,
            "seconds": self._trained,
            "pictures/s": len(warm) / sum(1 / report.pictures_per_second for report in warm),
            "waiting for data %": 100 * sum(report.waiting for report in warm) / len(warm),
            "loss": self._reports[-1].losses["loss"],
        }
        if self._scored:
            row["mIoU, classes present"] = self._score()
        self._part.rows.append(row)
        self._part.save()

    def _score(self) -> float:
        trainer = self._trainer
        size, device = trainer.config.input_size, trainer.processes.device
        backend = TorchBackend(trainer.net, self._labels, size, device, "training", channels_last=True)
        scores = score(HumanParser.on(backend, name="in training"), self._val, self._labels)
        return float(scores.mean_iou_present)


def train(
    part: Part,
    data: Path,
    config: TrainConfig,
    device: torch.device,
    workers: int,
    *,
    seconds: float,
    scored: bool = True,
) -> None:
    """Train for `seconds` and add rows to `part`."""
    labels = label_set(config.dataset)
    samples = open_split(config.dataset, data, "train")
    trainer = build_trainer(config, build_network(config, labels), labels, samples, Processes(device), workers=workers)
    watch = Watch(part, trainer, data, labels, seconds, scored=scored)
    with suppress(_TimeUpError):
        trainer.fit(watch)
    watch.row()


def work(part: Part, options: argparse.Namespace) -> None:
    """Both precisions, one after the other; the faster one first."""
    torch_device = open_torch(options.device)
    torch.backends.cudnn.benchmark = True
    workers = min(16, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        dataset = parse_model_name(options.model)[0]
        size = (SIZE[0], SIZE[1]) if torch_device.cuda else (64, 64)
        write_dataset(data, dataset, train=options.pictures, val=SCORED if options.scored else 1, size=size, seed=0)
        for precision in ("bf16", "fp32"):
            config = resolve(options.model, options.recipe, [f"precision={precision}", *_overrides(options.set)])
            try:
                device = torch.device(torch_device.name)
                train(part, data, config, device, workers, seconds=options.seconds, scored=bool(options.scored))
            except torch.OutOfMemoryError as error:
                part.rows.append({"training": f"{config.model}, {precision}", "note": first_line(error)})


def _overrides(text: str) -> Sequence[str]:
    return text.split(";") if text else ()


if __name__ == "__main__":
    part_main(
        "Training",
        work,
        model="lip-r101-os16",
        recipe="ssseg",
        seconds=60.0,
        pictures=640,
        set="",
        scored=1,
        device="cuda",
    )
