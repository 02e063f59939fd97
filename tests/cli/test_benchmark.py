"""`ce2p benchmark`: what it counts and what it compares. No test looks at a time it measured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p import __main__ as command
from ce2p.cli import benchmark
from ce2p.cli.benchmark import BenchmarkRequest, Candidate, run
from ce2p.errors import ConfigError
from ce2p_runtime import BackendError, HumanParser, ModelFileError
from ce2p_runtime.timing import Timing

Frame = NDArray[np.uint8]
NAMES = ("background", "person")


class FakeParser:
    """Gives each frame's own first channel as labels, and stage times that it was told."""

    def __init__(self, network: Sequence[float], group_size: int = 1, names: tuple[str, ...] = NAMES) -> None:
        self.network = iter(network)
        self.group_size = group_size
        self.metadata = SimpleNamespace(class_names=names)
        self.seen: list[int] = []
        self.flipped = 0

    def parse_batch(self, frames: Sequence[Frame]) -> list[Any]:
        self.seen += [int(frame[0, 0, 0]) for frame in frames]
        time = next(self.network, 0.0)
        results = []
        for frame in frames:
            labels = frame[:, :, 0].copy()
            labels[0, : self.flipped] += 1
            results.append(SimpleNamespace(labels=labels, timings={"prepare": 1.0, "network": time, "labels": 0.5}))
        return results


def frames(count: int = 3) -> list[Frame]:
    return [np.full((2, 5, 3), index, np.uint8) for index in range(count)]


def candidate(parser: FakeParser) -> Candidate:
    return Candidate("x", parser, frames())  # type: ignore[arg-type]


def test_stage_times_are_those_of_the_counted_calls() -> None:
    measured = candidate(FakeParser([100.0, 100.0, 3.0, 5.0, 4.0]))
    for _ in range(5):
        measured()
    timings = measured.timings(Timing.of([6.0, 8.0, 7.0]))
    assert list(timings) == ["prepare", "network", "labels", "frame"]
    assert timings["network"].samples == (3.0, 5.0, 4.0)
    assert timings["network"].median_ms == 4.0
    assert timings["frame"].samples == (6.0, 8.0, 7.0)


def test_a_batch_takes_its_frames_in_turn_and_is_counted_per_frame() -> None:
    parser = FakeParser([1.0, 1.0], group_size=2)
    measured = candidate(parser)
    measured()
    measured()
    assert parser.seen == [0, 1, 2, 0]
    assert measured.timings(Timing.of([10.0, 14.0]))["frame"].samples == (5.0, 7.0)


def test_agreement_counts_pixels_and_leaves_other_classes_alone() -> None:
    parser, same = FakeParser([]), FakeParser([])
    assert candidate(parser).agreement(same) == 1.0  # type: ignore[arg-type]
    parser.flipped = 2  # of 10 pixels in every frame
    assert candidate(parser).agreement(same) == pytest.approx(0.8)  # type: ignore[arg-type]
    assert candidate(parser).agreement(FakeParser([], names=("background", "cat"))) is None  # type: ignore[arg-type]


def request(model: Path, **changes: Any) -> BenchmarkRequest:
    return dataclasses.replace(BenchmarkRequest([model], (), "auto", (60, 50), 2, None, None), **changes)


def test_the_report_of_two_backends(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report.json"
    arguments = ["benchmark", str(tiny_model), "--size", "60x50", "--rounds", "2", "--threads", "1", "--json"]
    monkeypatch.setattr("sys.argv", ["ce2p", *arguments, str(target)])
    with pytest.raises(SystemExit) as ending:
        command.main()
    assert not ending.value.code
    printed = capsys.readouterr()
    assert "Frames of 60x50, 2 rounds" in printed.out
    assert "threads 1" in printed.err
    document = json.loads(target.read_text())
    assert document["machine"]["cores"] >= 1
    assert "onnxruntime" in document["machine"]["versions"]
    assert document["settings"] == {"frame": [60, 50], "rounds": 2, "threads": 1}
    assert document["skipped"] == {}
    first, second = document["candidates"]
    assert [(c["backend"], c["device"]) for c in (first, second)] == [("onnxruntime", "cpu"), ("openvino", "cpu")]
    assert first["agreement_with_first"] == first["frame_over_first"] == 1.0
    assert second["agreement_with_first"] > 0.99  # float32 both, and 3000 pixels of an untrained network
    for row in (first, second):
        assert (row["precision"], row["input_size"], row["batch"]) == ("fp32", [97, 97], 1)
        assert set(row["milliseconds"]) == {"prepare", "network", "labels", "frame"}
        assert all(len(times["samples"]) == 2 for times in row["milliseconds"].values())


def test_json_alone_on_standard_output(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(request(tiny_model, backends=("onnxruntime",), rounds=1, json="-"))
    assert [row["backend"] for row in json.loads(capsys.readouterr().out)["candidates"]] == ["onnxruntime"]


def test_a_backend_that_cannot_run_is_named_and_the_others_are_measured(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed: list[str] = []

    class Picky(HumanParser):
        def __init__(self, model: str | Path, *, backend: str = "auto", **options: Any) -> None:
            if backend == "openvino":
                raise BackendError("OpenVINO has a bad day; try later")
            super().__init__(model, backend=backend, **options)

        def close(self) -> None:
            closed.append(self.backend.name)
            super().close()

    monkeypatch.setattr(benchmark, "HumanParser", Picky)
    run(request(tiny_model, rounds=1, json="-"))
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["skipped"] == {f"{tiny_model} openvino": "OpenVINO has a bad day; try later"}
    assert "not measured: " in printed.err
    assert closed == ["onnxruntime"]
    with pytest.raises(BackendError, match="bad day"):
        run(request(tiny_model, backends=("onnxruntime", "openvino")))
    assert closed == ["onnxruntime", "onnxruntime"]


def test_what_cannot_be_measured_at_all(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--rounds 0"):
        run(request(tiny_model, rounds=0))
    with pytest.raises(BackendError, match="unknown backend"):
        run(request(tiny_model, backends=("tensorflow",)))
    for name in ("none.onnx", "none.engine"):
        with pytest.raises(ModelFileError, match="no such file"):
            run(request(tmp_path / name))


def test_a_model_named_twice_is_measured_once(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(request(tiny_model, models=[tiny_model, tiny_model], backends=("onnxruntime",), rounds=1, json="-"))
    assert len(json.loads(capsys.readouterr().out)["candidates"]) == 1
