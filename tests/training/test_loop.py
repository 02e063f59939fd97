"""The training loop by itself: what a step does to the weights, by hand, and what ends a run."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ce2p.data.splits import open_split
from ce2p.errors import CE2PError
from ce2p.labels import label_set
from ce2p.synthetic import write_lip_folder
from ce2p.training.building import build_network, build_trainer
from ce2p.training.distributed import Processes
from ce2p.training.loop import Position, StepReport, Trainer
from ce2p.training.recipe import resolve
from ce2p.training.run import RunFolder, TrainingRun
from ce2p.training.snapshot import read_snapshot

LABELS = label_set("lip")
Make = Callable[..., Trainer]


class Quiet:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.reports: list[StepReport] = []
        self.positions: list[Position] = []
        self.epochs: list[int] = []

    def stepped(self, report: StepReport) -> None:
        self.reports.append(report)

    def moved(self, position: Position) -> None:
        self.positions.append(position)

    def epoch_ended(self, epoch: int) -> None:
        self.epochs.append(epoch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "lip"
    write_lip_folder(root, train=8, val=1, size=(64, 64), seed=3)
    return root


@pytest.fixture
def trainer(data: Path) -> Make:
    """`trainer("batch=4", ...)`: of the tiny network with M-CE2P's recipe, which has no dropout."""

    def make(*overrides: str, recipe: str = "mce2p") -> Trainer:
        config = resolve("lip-r18-os16", recipe, ["input_size=64", "augmentation=none", *overrides])
        samples = open_split("lip", data, "train")
        alone = Processes(torch.device("cpu"))
        return build_trainer(config, build_network(config, LABELS), LABELS, samples, alone, workers=0)

    return make


def weights(net: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


def test_a_run_moves_through_its_steps_in_order(trainer: Make) -> None:
    observer, made = Quiet(), trainer("batch=4", "epochs=2")
    made.fit(observer)
    assert [(p.epoch, p.step) for p in observer.positions] == [(0, 1), (1, 0), (1, 1), (2, 0)]
    assert observer.epochs == [0, 1]
    assert [(r.epoch, r.step, r.total_steps) for r in observer.reports] == [(0, 2, 4), (1, 4, 4)]
    # mce2p: poly with power 0.9 from 0.007, at the last step of each report
    assert [r.learning_rate for r in observer.reports] == pytest.approx([0.007 * 0.75**0.9, 0.007 * 0.25**0.9])
    assert {"loss", "stage1", "parsing", "edge"} == observer.reports[0].losses.keys()
    assert all(0 <= r.waiting <= 1 and r.pictures_per_second > 0 for r in observer.reports)


def test_one_step_of_sgd_by_hand(trainer: Make) -> None:
    made = trainer("batch=4", "epochs=1", "optimiser.weight_decay=0.01")
    before = weights(made.net)
    made.sampler.set_position(0, 0)
    made._step(iter(made.loader), 0.5)
    gradient = torch.cat([p.grad.flatten() for p in made.net.parameters() if p.grad is not None])
    torch.testing.assert_close(weights(made.net), before - 0.5 * (gradient + 0.01 * before))


def test_micro_batches_add_up_to_their_mean(trainer: Make) -> None:
    """The same pictures twice: statistics, losses and gradients are those of seeing them once."""
    once, twice = trainer("batch=4", "epochs=1"), trainer("batch=8", "micro_batch=4", "epochs=1")
    batch = next(iter(once.loader))
    losses = once._step(iter([batch]), 0.1)
    both = twice._step(iter([batch, batch]), 0.1)
    torch.testing.assert_close(both["loss"], losses["loss"])
    torch.testing.assert_close(weights(twice.net), weights(once.net), rtol=1e-5, atol=1e-6)
    other = {name: value.flip(0) if name == "image" else value for name, value in batch.items()}
    differing = trainer("batch=8", "micro_batch=4", "epochs=1")
    differing._step(iter([batch, other]), 0.1)
    assert (weights(differing.net) - weights(once.net)).abs().max() > 1e-4


def test_the_moving_average_by_hand(trainer: Make) -> None:
    made = trainer("batch=4", "epochs=1", "ema=0.75")
    assert made.ema is not None
    batches = [next(iter(made.loader)) for _ in range(3)]
    seen = []
    for batch in batches:
        made._step(iter([batch]), 0.05)
        seen.append(weights(made.net))
    # The first step's weights begin the average (torch.optim.swa_utils), then three quarters of it stay each time.
    expected = 0.75 * (0.75 * seen[0] + 0.25 * seen[1]) + 0.25 * seen[2]
    torch.testing.assert_close(weights(made.ema.module), expected)
    assert made.deployable() is made.ema.module


def test_gradients_are_clipped_as_one(trainer: Make) -> None:
    made = trainer("batch=4", "epochs=1", "clip_norm=0.01")
    made._step(iter(made.loader), 0.1)
    gradient = torch.cat([p.grad.flatten() for p in made.net.parameters() if p.grad is not None])
    assert gradient.norm().item() == pytest.approx(0.01, rel=1e-3)  # torch adds 1e-6 to the norm


def test_self_correction_cycles_make_the_teacher_the_network_to_deploy(trainer: Make) -> None:
    made = trainer(
        "batch=4",
        "epochs=4",
        "optimiser.lr=0.001",
        "schedule.warmup_epochs=1",
        "self_correction.start_epoch=2",
        "self_correction.cycle_epochs=1",
        recipe="schp",
    )
    observer, at_the_ends = Quiet(), []
    correct = made._correct

    def noted(epoch: int) -> None:
        at_the_ends.append(weights(made.net))
        correct(epoch)

    made._correct = noted  # type: ignore[method-assign]
    assert made.deployable() is made.net
    made.fit(observer)
    assert made.teacher is not None
    assert made.teacher.cycle == 3
    assert made.deployable() is made.teacher.net
    torch.testing.assert_close(weights(made.teacher.net), torch.stack(at_the_ends[1:]).mean(0), rtol=1e-5, atol=1e-6)
    names = observer.reports[-1].losses.keys()
    assert {"parsing_lovasz", "parsing_consistency", "stage1_lovasz", "stage1_consistency"} <= names
    assert all(np.isfinite(list(report.losses.values())).all() for report in observer.reports)


def test_half_precision_learns_the_same(trainer: Make) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        observer, made = Quiet(), trainer("batch=4", "epochs=2", f"precision={precision}")
        made.fit(observer)
        assert all(parameter.dtype == torch.float32 for parameter in made.net.parameters())
        losses[precision] = [report.losses["loss"] for report in observer.reports]
    # bfloat16 keeps 8 bits: a loss of about 5 moves in its second decimal, and must move at all.
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["bf16"] != losses["fp32"]


def test_a_loss_that_is_no_number_ends_the_run_with_the_step(trainer: Make) -> None:
    with pytest.raises(CE2PError, match=r"training diverged: .* up to step \d+; lower optimiser\.lr"):
        trainer("batch=4", "epochs=20", "optimiser.lr=1e12").fit(Quiet())


def test_rows_after_the_snapshot_are_cut_from_the_logs(tmp_path: Path) -> None:
    from ce2p.training.logs import RunLogs

    report = StepReport(
        epoch=0,
        step=0,
        total_steps=30,
        learning_rate=0.1,
        losses={},
        pictures_per_second=8.0,
        waiting=0.01,
        epochs=1,
        device=torch.device("cpu"),
        peak_memory=0,
    )
    first = RunLogs(tmp_path)
    for step in (10, 20, 30):
        first.losses(dataclasses.replace(report, step=step, losses={"loss": 1.0 / step}))
    first.scores(30, 0, {"mean_iou": 0.5})
    first.close()
    with (tmp_path / "losses.csv").open("a") as file:
        file.write("35,0,0.1")  # what a kill left of a row
    second = RunLogs(tmp_path, first_step=20)
    second.losses(dataclasses.replace(report, step=30, losses={"loss": 7.0}))
    second.close()
    rows = list(csv.DictReader((tmp_path / "losses.csv").open(newline="")))
    assert [(row["step"], row["loss"]) for row in rows] == [("10", "0.1"), ("20", "0.05"), ("30", "7.0")]
    assert not (tmp_path / "scores.csv").exists()


def test_a_diverged_network_is_not_saved_over_one_that_can_be_resumed(trainer: Make, tmp_path: Path) -> None:
    # Four steps in an epoch, and only the last looks at the losses.
    made = trainer("batch=2", "epochs=20", "optimiser.lr=1e18")
    run = TrainingRun(RunFolder(tmp_path), made, LABELS, "pictures", None, validate_every=0, snapshot_seconds=0)
    with pytest.raises(CE2PError, match="training diverged"):
        run.fit()
    kept = sorted((tmp_path / "snapshots").iterdir())
    assert kept
    for path in kept:
        assert all(torch.isfinite(value).all() for value in read_snapshot(path)["net"].values())
