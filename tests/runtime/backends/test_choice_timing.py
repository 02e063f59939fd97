"""How many rounds of timing a choice takes: as few as tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from ce2p_runtime.backends import BACKENDS, open_backend
from ce2p_runtime.backends.choice_timing import FEWEST_ROUNDS, ROUNDS
from tests.runtime.backends.scripted_backends import Scene, reason, set_scene, write_model


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scene:
    return set_scene(monkeypatch, tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


@pytest.mark.parametrize(("slow", "rounds"), [(6000.0, FEWEST_ROUNDS), (800.0, 3), (100.0, ROUNDS)])
def test_slow_networks_get_fewer_rounds(scene: Scene, model: Path, slow: float, rounds: int) -> None:
    scene.milliseconds = {"slow": lambda _: slow, "fast": lambda _: slow * 0.9}
    assert open_backend(model).name == "fast"
    assert scene.runs("slow") == 1 + rounds


@pytest.mark.parametrize(("slow", "rounds"), [(15.1, FEWEST_ROUNDS), (14.9, ROUNDS)])
def test_what_is_clearly_slower_is_closed_early(scene: Scene, model: Path, slow: float, rounds: int) -> None:
    scene.milliseconds["slow"] = lambda _: slow
    found = reason(open_backend(model))
    assert found.median_ms == {"slow": slow, "fast": 10}
    assert scene.runs("slow") == scene.runs("fast") == 1 + rounds


def test_what_fails_leaves_the_other_one(scene: Scene, model: Path) -> None:
    """Also where that was slow: a leader that fails in its second round has closed nothing."""
    scene.fails_at_run["fast"] = FEWEST_ROUNDS + 1
    backend = open_backend(model)
    assert backend.name == "slow"
    assert scene.closed == [("fast", None)]


def test_the_others_are_timed_again_where_one_was_clearly_slower(
    scene: Scene, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.milliseconds = {
        "slow": lambda _: 60.0,
        "fast": lambda _: 50.0 if scene.runs("fast") in (2, 4, 6) else 10.0,
        "worst": lambda _: 500.0,
    }
    monkeypatch.setitem(BACKENDS, "worst", scene.entry("worst"))
    found = reason(open_backend(model))
    assert found.median_ms == {"slow": 60, "fast": 10, "worst": 500}
    assert scene.runs("worst") == 1 + FEWEST_ROUNDS
    assert scene.closed[0] == ("worst", None)
