"""Learning rates against the public formulas, written here once more."""

from __future__ import annotations

import math

import pytest
import torch

from ce2p.training.optimisers import learning_rate
from ce2p.training.recipe import TrainConfig, resolve


def rates(config: TrainConfig, steps_per_epoch: int) -> list[float]:
    return [learning_rate(config, step, steps_per_epoch) for step in range(config.epochs * steps_per_epoch)]


def test_ce2p_falls_by_the_power_to_nearly_zero() -> None:
    config = resolve("lip-r101-os16", "ce2p", ["epochs=3"])
    expected = [1e-3 * (1 - float(i) / 12) ** 0.9 for i in range(12)]
    assert rates(config, 4) == pytest.approx(expected, rel=1e-12)


def test_sssegmentation_keeps_a_hundredth() -> None:
    config = resolve("lip-r101-os16", "ssseg", ["epochs=3"])
    base, least = 0.01, 0.01 * 0.01
    expected = [(1 - i / 12) ** 0.9 * (base - least) + least for i in range(12)]
    assert rates(config, 4) == pytest.approx(expected, rel=1e-12)


def test_schp_warms_up_anneals_and_restarts_epoch_by_epoch() -> None:
    config, eta_min, base, cyclical = resolve("lip-r101-os16", "schp", []), 7e-5, 7e-3, 3.5e-3
    found = rates(config, 2)
    assert found[::2] == found[1::2]  # the same within an epoch
    for epoch, rate in enumerate(found[::2]):
        if epoch < 10:
            expected = eta_min + epoch * (base - eta_min) / 10
        elif epoch < 100:
            expected = eta_min + (base - eta_min) * (1 + math.cos(math.pi * (epoch - 10) / 90)) / 2
        else:
            expected = eta_min + (cyclical - eta_min) * (1 + math.cos(math.pi * ((epoch - 100) % 10) / 10)) / 2
        assert rate == pytest.approx(expected, rel=1e-12), epoch
    assert [found[2 * epoch] for epoch in (0, 10, 100, 110)] == pytest.approx([7e-5, 7e-3, 3.5e-3, 3.5e-3])


@pytest.mark.parametrize(("epochs", "steps_per_epoch", "warmup"), [(5, 20, 0.3), (3, 7, 0.2), (1, 10, 0.2)])
def test_one_cycle_is_torchs(epochs: int, steps_per_epoch: int, warmup: float) -> None:
    config = resolve("lip-r18-os16", "tiny", [f"epochs={epochs}", f"schedule.warmup={warmup}", "optimiser.lr=4e-3"])
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], 4e-3)
    steps = epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 4e-3, steps, pct_start=warmup, div_factor=25, final_div_factor=1e4
    )
    expected = []
    for step in range(steps):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if step + 1 < steps:
            schedule.step()
    assert rates(config, steps_per_epoch) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("recipe", ["ssseg", "tiny"])
def test_the_shortest_runs_have_a_rate(recipe: str, steps: int) -> None:
    config = resolve("lip-r18-os16", recipe, ["epochs=1"])
    assert all(0 < rate <= config.optimiser.lr for rate in rates(config, steps))


def test_a_step_outside_of_the_run_is_refused() -> None:
    config = resolve("lip-r18-os16", "tiny", ["epochs=2"])
    for step in (-1, 10):
        with pytest.raises(ValueError, match="of a run with 10"):
            learning_rate(config, step, 5)
