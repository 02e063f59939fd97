"""Times taken on a busy machine are taken again, not kept, and found out later; all of that is said."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ce2p_runtime import HumanParser
from ce2p_runtime.backends import choice_timing, open_backend
from ce2p_runtime.backends.choice_timing import FEWEST_ROUNDS, ROUNDS
from tests.runtime.backends.scripted_backends import Scene, cached, reason, set_scene, write_model


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scene:
    return set_scene(monkeypatch, tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


def busy_until(scene: Scene, run: int) -> Callable[[int | None], float]:
    """10 ms, but every second one of the first `run` runs, and most of five rounds, five times as long."""
    return lambda _: 50.0 if scene.runs("fast") <= run and scene.runs("fast") % 2 == 0 else 10.0


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(": ")[2] for record in caplog.records]


def test_rounds_that_differ_are_timed_again_and_kept_if_that_was_better(
    scene: Scene, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scene.milliseconds = {"slow": lambda _: 60.0, "fast": busy_until(scene, 1 + ROUNDS)}
    found = reason(open_backend(model))
    assert (found.noise, found.median_ms) == ("", {"slow": 60, "fast": 10})
    assert scene.runs("fast") == 1 + ROUNDS + FEWEST_ROUNDS
    assert messages(caplog)[1].startswith("timing again (its rounds differ, their median is 5.0 times the best)")
    (file,) = cached(tmp_path)
    assert json.loads(file.read_text())["median_ms"] == {"slow": 60, "fast": 10}


def test_what_stays_noisy_counts_for_this_process_only_and_says_so(
    scene: Scene, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.milliseconds = {"slow": lambda _: 60.0, "fast": lambda _: 50.0 if scene.runs("fast") % 3 else 10.0}
    with HumanParser(model) as parser:
        assert "measured now, not to be relied on and not kept: its rounds differ" in str(parser)
    assert not (tmp_path / "cache").exists()
    runs = len(scene.batches)
    assert reason(open_backend(model)).remembered
    assert len(scene.batches) == runs
    monkeypatch.setattr("ce2p_runtime.backends.choice_memory._of_this_process", {})  # a new process
    assert not reason(open_backend(model)).remembered


@pytest.mark.parametrize(("waited", "threads", "noisy"), [(0.1, None, False), (0.9, None, True), (0.9, 8, False)])
def test_waiting_for_a_core_is_noise_unless_more_threads_than_cores_were_asked_for(
    scene: Scene,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    waited: float,
    threads: int | None,
    noisy: bool,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    file = tmp_path / "task/7/schedstat"
    file.parent.mkdir(parents=True)

    def run(milliseconds: float) -> float:
        """The kernel counts along, in nanoseconds."""
        file.write_text(f"{round(scene.now * 1e9)} {round(scene.now * waited * 1e9)} 12\n")
        return milliseconds

    scene.milliseconds = {"slow": lambda _: run(20.0), "fast": lambda _: run(10.0)}
    found = reason(open_backend(model, threads=threads))
    assert bool(found.noise) is noisy
    assert not noisy or found.noise == "others held the cores, it waited 0.9 times as long as it ran"
    assert (tmp_path / "cache").exists() is not noisy


def test_a_remembered_time_that_is_far_off_is_forgotten_at_the_first_pass(
    scene: Scene, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene.milliseconds = {"slow": lambda _: 90.0, "fast": lambda _: 81.0}  # evenly disturbed: no sign of it
    assert reason(open_backend(model)).median_ms["fast"] == 81
    scene.milliseconds = {"slow": lambda _: 8.0, "fast": lambda _: 10.0}
    caplog.set_level(logging.INFO)
    frame = np.zeros((9, 7, 3), np.uint8)
    with HumanParser(model) as parser:
        assert (parser.backend.name, reason(parser.backend).remembered) == ("fast", True)
        parser.parse_batch([frame, frame])
        assert messages(caplog) == ["took 81 ms when it was timed and 10 now; the next start times it again"]
    assert cached(tmp_path) == []
    assert ("fast", None) in scene.closed
    backend = open_backend(model)
    assert (backend.name, reason(backend).remembered) == ("slow", False)
    scene.milliseconds["slow"] = lambda _: 100.0  # busy now: no reason to doubt a time
    again = open_backend(model)
    again.run(np.zeros((1, 3, 8, 12), np.float32))
    assert reason(again).remembered
    assert len(cached(tmp_path)) == 1


def test_a_choice_whose_first_pass_fails_is_forgotten(scene: Scene, model: Path, tmp_path: Path) -> None:
    open_backend(model)
    backend = open_backend(model)
    scene.fails_at_run["fast"] = scene.runs("fast") + 1
    with pytest.raises(RuntimeError, match="fast broke"):
        backend.run(np.zeros((1, 3, 8, 12), np.float32))
    assert cached(tmp_path) == []
    backend.run(np.zeros((1, 3, 8, 12), np.float32))


def test_a_batch_of_another_size_is_no_trial(scene: Scene, model: Path, tmp_path: Path) -> None:
    scene.milliseconds = {"slow": lambda _: 90.0, "fast": lambda _: 81.0}
    open_backend(model)
    scene.milliseconds["fast"] = lambda _: 10.0
    backend = open_backend(model)
    backend.run(np.zeros((2, 3, 8, 12), np.float32))
    assert len(cached(tmp_path)) == 1
    backend.run(np.zeros((1, 3, 8, 12), np.float32))
    assert cached(tmp_path) == []


def test_this_systems_own_figures_are_read() -> None:
    if not choice_timing._TASKS.exists():
        pytest.skip("this system does not tell")
    before = choice_timing._task_times()
    sum(range(1_000_000))
    after = choice_timing._task_times()
    assert before
    assert sum(ran for ran, _ in after.values()) > sum(ran for ran, _ in before.values())
