"""`ce2p benchmark` as a user types it, and what its parts count. No test looks at a time it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from ce2p.api import benchmark as front_door
from ce2p.benchmarking import candidates as opening_module
from ce2p.benchmarking import rounds
from ce2p.benchmarking.candidates import Candidate, Opening, by_stage, short_names
from ce2p.benchmarking.document import read_result
from ce2p.benchmarking.frames import Footage, open_footage, synthetic_footage
from ce2p.benchmarking.rounds import IN_TURN, OVERLAPPED, batch_sweep, stream_rates, sweep_rounds
from ce2p.checkpoints import save_checkpoint
from ce2p.cli.announcements import show_announcements
from ce2p.cli.benchmark import run
from ce2p.errors import CE2PError, ConfigError, DataError
from ce2p.models import CE2P
from ce2p.synthetic import walking_sequence
from ce2p_export import GraphOptions
from ce2p_runtime import BackendError, HumanParser, MediaError, ModelFileError
from ce2p_runtime.errors import CE2PRuntimeError
from ce2p_runtime.measuring.timing import Timing
from ce2p_runtime.media.video import VideoWriter
from tests.benchmarking.made_up import judgement, result, row, stages
from tests.cli.command import Run

Frame = NDArray[np.uint8]
Tiny = Callable[..., CE2P]
ROOT = Path(__file__).parent.parent.parent
SIZE = (60, 50)


@pytest.fixture(autouse=True)
def _few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_door, "choose_pictures", partial(front_door.choose_pictures, count=3))


@pytest.fixture(scope="module")
def dynamic_model(exported: Callable[..., Path]) -> Path:
    """As `tiny_model`, with a dynamic batch."""
    return exported(GraphOptions((97, 97), batch=None))


def run_quickly(model: Path, **changes: Any) -> bool:
    """`ce2p benchmark --json` of one model, with as little as can be measured."""
    quick = {"models": [model], "size": SIZE, "rounds": 1, "warmup": 0, "throughput": False, "gate": False, "json": "-"}
    show_announcements()
    return run(**{**quick, **changes})


# the whole command


def test_the_report_of_two_backends(ce2p: Run, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ("--size", "60x50", "--rounds", 2, "--warmup", 1, "--threads", 1, "--json", tmp_path / "report.json")
    ending = ce2p("benchmark", tiny_model, *arguments, "-o", tmp_path / "out")
    assert ending.status == 0, ending.err
    assert "Latency: milliseconds per frame" in ending.out
    assert "2 rounds after 1 that do not count" in ending.out
    assert "threads 1" in ending.err
    document = json.loads((tmp_path / "report.json").read_text())
    assert document == json.loads((tmp_path / "out/benchmark.json").read_text())
    assert document["machine"]["cores"] >= 1
    assert "onnxruntime" in document["machine"]["versions"]
    assert document["settings"]["gate"]["count"] == 3
    assert (document["settings"]["rounds"], document["settings"]["threads"]) == (2, 1)
    assert document["skipped"] == {}
    first, second = document["candidates"]
    assert [(c["backend"], c["device"]) for c in (first, second)] == [("onnxruntime", "cpu"), ("openvino", "cpu")]
    assert [c["gate"]["standing"] for c in (first, second)] == ["reference", "passed"]
    assert first["gate"]["pixel_agreement"] == first["over_first"]["frame"]["value"] == 1.0
    assert second["over_first"]["verdict"] == "too few rounds"
    for found in (first, second):
        assert (found["precision"], found["input_size"], found["batch"]) == ("fp32", [97, 97], 1)
        stages_of = {"decode", "prepare", "network", "labels", "other", "frame", "whole"}
        assert set(found["stages_ms"]) == stages_of
        assert all(len(times["samples"]) == 2 for times in found["stages_ms"].values())
        frame, whole, decode = (found["stages_ms"][s]["samples"] for s in ("frame", "whole", "decode"))
        assert whole == pytest.approx(np.add(frame, decode))
        assert list(found["throughput"]) == ["1"]  # a static batch: its own size alone
        assert set(found["stream"]) == {OVERLAPPED, IN_TURN}
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"benchmark.json", "benchmark.csv", "benchmark.md", "latency.png", "agreement.svg"} <= made
    assert "![latency.png](latency.png)" in (tmp_path / "out/benchmark.md").read_text()


def test_a_broken_candidate_stays_in_the_table_and_wins_nothing(ce2p: Run, tiny_model: Path, tmp_path: Path) -> None:
    """Its metadata swaps the colour channels, as a careless export does."""
    broken = onnx.load(str(tiny_model))
    entry = next(item for item in broken.metadata_props if item.key == "ce2p")
    fields = json.loads(entry.value)
    fields["normalisation"]["colour_order"] = "rgb" if fields["normalisation"]["colour_order"] == "bgr" else "bgr"
    entry.value = json.dumps(fields)
    onnx.save(broken, str(tmp_path / "broken.onnx"))
    options = ("--backends", "onnxruntime", "--size", "60x50", "--rounds", 6, "--no-throughput")
    ending = ce2p("benchmark", tiny_model, tmp_path / "broken.onnx", *options, "-o", tmp_path / "out")
    assert ending.status == 0, ending.err
    assert "broken.onnx onnxruntime: pixel agreement is" in ending.out
    found = read_result(tmp_path / "out/benchmark.json")
    assert [r.judgement.standing for r in found.rows] == ["reference", "failed"]
    assert found.verdict(found.rows[1]) == "fails the gate"
    assert "failed_broken.onnx-onnxruntime.png" in (tmp_path / "out/benchmark.md").read_text()
    assert (tmp_path / "out/failed_broken.onnx-onnxruntime.png").stat().st_size > 0
    assert found.rows[0].throughput == {}


def test_a_dynamic_batch_is_swept_and_a_checkpoint_may_be_the_reference(
    dynamic_model: Path, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = save_checkpoint(tmp_path / "mine.safetensors", tiny("schp"), "lip", "test")
    options = {"gate": True, "throughput": True, "batches": (1, 2), "reference": checkpoint}
    run_quickly(dynamic_model, backends=("onnxruntime",), **options)
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["gate"]["reference"] == "mine.safetensors (torch on cpu)"
    (found,) = document["candidates"]
    assert list(found["throughput"]) == ["1", "2"]
    assert len(found["throughput"]["2"]["samples"]) == sweep_rounds(1) == 3
    assert found["gate"]["standing"] == "passed"  # fp32, the same weights


def test_without_a_gate_nothing_is_judged_and_it_is_said(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_quickly(tiny_model, backends=("onnxruntime",), json=None)
    assert "NOT compared (--no-gate)" in capsys.readouterr().out


def test_without_matplotlib_everything_else_is_written(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run_quickly(tiny_model, backends=("onnxruntime",), output=tmp_path / "out")
    assert 'pip install ".[plots]"' in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"benchmark.json", "benchmark.csv", "benchmark.md"}


def test_it_runs_where_torch_cannot_be_imported(tiny_model: Path) -> None:
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'torch', 'torchvision', 'safetensors', 'onnxscript', 'ce2p_export'}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"sys.argv = ['ce2p', 'benchmark', {str(tiny_model)!r}, '--backends', 'onnxruntime', '--rounds', '1',\n"
        "            '--warmup', '0', '--size', '60x50', '--json']\n"
        "from ce2p.__main__ import main\nmain()"
    )
    environment = {"PYTHONPATH": ":".join(str(path) for path in (ROOT, ROOT / "export", ROOT / "runtime")), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["candidates"][0]["gate"]["standing"] == "reference"


# comparing results


def saved(folder: Path, name: str, **changes: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(result(row(**changes)).to_dict()))
    return path


def test_two_results_are_compared_and_a_regression_is_status_1(ce2p: Run, tmp_path: Path) -> None:
    old, new = saved(tmp_path, "old.json"), saved(tmp_path, "new.json", stages=stages(120.0))
    ending = ce2p("benchmark", new, "--compare", old)
    assert ending.status == 1
    assert "3 regressions, 0 improvements" in ending.out
    assert "1.20 [" in ending.out
    assert ce2p("benchmark", old, "--compare", new).status == 0
    assert ce2p("benchmark", new, "--compare", old, "--tolerance", 25).status == 0
    ending = ce2p("benchmark", new, "--compare", old, "--json")
    assert ending.status == 1
    assert json.loads(ending.out)["comparison"]["regressions"] == 3
    wrong = saved(tmp_path, "wrong.json", judgement=judgement("failed", 0.9))
    ending = ce2p("benchmark", wrong, "--compare", old)
    assert ending.status == 1
    assert "gate passed" in ending.out


def test_a_new_run_is_compared_at_once_and_other_machines_times_are_not(
    ce2p: Run, tiny_model: Path, tmp_path: Path
) -> None:
    old = saved(tmp_path, "old.json", model="tiny.onnx", stages=stages(1e-6))
    options = ("--backends", "onnxruntime", "--size", "60x50", "--rounds", 6, "--no-throughput")
    ending = ce2p("benchmark", tiny_model, *options, "--compare", old)
    assert ending.status == 0, ending.err
    assert "differs: cpu: A Processor before" in ending.err
    assert "so times are not comparable" in ending.err
    assert "Latency" in ending.out
    assert "comparable" in ending.out  # a narrow table folds "not comparable"


# refusals


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rounds": 0}, "--rounds 0"),
        ({"warmup": -1}, "--warmup -1"),
        ({"tolerance": -0.1}, "--tolerance"),
        ({"batches": ()}, "--batches"),
        ({"reference": Path("a.onnx")}, "--no-gate"),
        ({"models": [Path("a.json")]}, "compared with one other"),
        ({"models": [Path("a.json"), Path("b.onnx")], "compare": Path("c.json")}, "compared with one other"),
    ],
)
def test_options_that_make_no_sense(changes: dict[str, Any], said: str, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        run_quickly(tiny_model, **changes)


def test_what_cannot_be_measured_at_all(ce2p: Run, tiny_model: Path, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"backends": ("tensorflow",)}, BackendError, "unknown backend"),
        ({"models": [tmp_path / "none.onnx"]}, ModelFileError, "no such file"),
        ({"models": [tmp_path / "none.engine"]}, ModelFileError, "no such file"),
        ({"source": tmp_path / "none.mp4"}, MediaError, "no such file"),
        ({"compare": tmp_path / "none.json"}, DataError, "cannot be read"),
        ({"gate": True, "data": tmp_path}, MediaError, "no pictures"),
        ({"gate": True, "reference": tmp_path / "none.onnx", "backends": ("onnxruntime",)}, ModelFileError, "no such"),
        ({"output": tiny_model, "backends": ("onnxruntime",)}, MediaError, "is a file, expected a folder"),
    ]
    for changes, kind, said in cases:
        with pytest.raises(kind, match=said) as refused:
            run_quickly(tiny_model, **changes)
        assert isinstance(refused.value, CE2PError | CE2PRuntimeError)
        assert "\n" not in str(refused.value)
    for arguments, said in ((("--batches", "1,x"), "--batches 1,x"), (("--size", "a"), "--size a")):
        ending = ce2p("benchmark", tiny_model, *arguments)
        assert ending.status == 1
        assert ending.err.startswith(f"error: {said}")


# candidates


class FakeParser:
    """Gives stage times that it was told."""

    def __init__(self, network: Sequence[float], group_size: int = 1) -> None:
        self.network = iter(network)
        self.group_size = group_size
        self.seen: list[int] = []

    def parse_batch(self, frames: Sequence[Frame]) -> list[Any]:
        self.seen += [int(frame[0, 0, 0]) for frame in frames]
        time = next(self.network)
        timings = {"upload": 0.25, "prepare": 0.0, "network": time, "labels": 0.0, "download": 0.5}
        return [SimpleNamespace(timings=timings) for _ in frames]


def candidate(name: str, parser: Any, backend: str = "onnxruntime") -> Candidate:
    return Candidate(name, name, Path(f"{name}.onnx"), backend, parser, footage=numbered())


def numbered(count: int = 3) -> Footage:
    """Frames that hold their own number, over and over."""
    return Footage("numbers", lambda: (np.full((2, 5, 3), index % count, np.uint8) for index in range(10**9)))


def test_a_call_takes_its_frames_in_turn_and_gives_stages_in_our_names() -> None:
    parser = FakeParser([0.001, 0.002], group_size=2)
    measured = candidate("x", parser)
    assert measured()["network"] == 0.001
    second = measured()
    assert parser.seen == [0, 1, 2, 0]
    assert list(second) == ["decode", "prepare", "network", "labels", "copy", "other", "frame", "whole"]
    assert second["copy"] == 0.75
    assert second["whole"] == second["decode"] + second["frame"]


def test_a_call_of_several_frames_is_counted_per_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening_module, "timed", lambda run: (10.0, run()))
    measured = candidate("x", FakeParser([1.0], group_size=2))()
    assert (measured["decode"], measured["frame"], measured["whole"]) == (5.0, 5.0, 10.0)


def test_other_is_what_the_stages_leave_of_a_frame() -> None:
    found = by_stage({"prepare": 1.0, "network": 5.0, "labels": 2.0}, decode=3.0, frame=8.5)
    assert found == {
        "decode": 3.0,
        "prepare": 1.0,
        "network": 5.0,
        "labels": 2.0,
        "other": 0.5,
        "frame": 8.5,
        "whole": 11.5,
    }
    # A GPU's own times of overlapping groups may add up to more than passed.
    assert by_stage({"network": 5.0, "upload": 1.0, "download": 2.0}, 0.0, 6.0)["other"] == 0.0


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.onnx", "b/y.onnx"], ["x.onnx", "y.onnx"]),
        (["a/x.onnx", "b/x.onnx", "b/y.onnx"], ["a/x.onnx", "b/x.onnx", "y.onnx"]),
        (["x.onnx", "b/x.onnx"], ["x.onnx", "b/x.onnx"]),
        (["/r/a/x.onnx", "/s/a/x.onnx"], ["r/a/x.onnx", "s/a/x.onnx"]),
    ],
)
def test_short_names_tell_models_apart(paths: list[str], names: list[str]) -> None:
    assert list(short_names([Path(path) for path in paths]).values()) == names


def test_a_model_named_twice_is_measured_once(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_quickly(tiny_model, models=[tiny_model, tiny_model], backends=("onnxruntime",))
    assert len(json.loads(capsys.readouterr().out)["candidates"]) == 1


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

    monkeypatch.setattr(opening_module, "HumanParser", Picky)
    run_quickly(tiny_model)
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["skipped"] == {"tiny.onnx openvino": "OpenVINO has a bad day; try later"}
    assert "not measured: " in printed.err
    assert closed == ["onnxruntime"]
    with pytest.raises(BackendError, match="bad day"):
        run_quickly(tiny_model, backends=("onnxruntime", "openvino"))
    assert closed == ["onnxruntime", "onnxruntime"]


# frames, throughput


def test_synthetic_frames_are_decoded_anew_and_start_over_with_every_play() -> None:
    footage = synthetic_footage(SIZE)
    first = footage.first(4)
    assert all(frame.shape == (*SIZE, 3) and frame.dtype == np.uint8 for frame in first)
    assert np.array_equal(first[0], first[3])
    assert not np.array_equal(first[0], first[1])
    assert first[0] is not first[3]
    drawn = next(walking_sequence(0, 1, SIZE))[0]
    assert np.abs(drawn.astype(int) - first[0]).mean() < 10  # JPEG of the same picture
    assert np.array_equal(footage.first(1)[0], first[0])


def test_pictures_and_videos_of_the_disk(tmp_path: Path) -> None:
    frames = [frame for frame, _ in walking_sequence(1, 3, (64, 48))]
    with VideoWriter(tmp_path / "walk.mp4", 25, (64, 48)) as writer:
        for index, frame in enumerate(frames):
            writer.write(frame, index, Fraction(1, 25))
    film = open_footage(tmp_path / "walk.mp4")
    assert film.description == "video walk.mp4, 64x48"
    shown = list(islice(film.play(), 5))
    assert np.array_equal(shown[0], shown[3])
    assert np.array_equal(shown[1], shown[4])
    for index, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame)
    pictures = open_footage(tmp_path)
    assert pictures.description.startswith("3 pictures of ")
    assert all(np.array_equal(a, b) for a, b in zip(pictures.first(6), frames * 2, strict=True))
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    with pytest.raises(MediaError, match="cut short"):
        open_footage(tmp_path)


def test_streams_parse_the_same_frames_in_both_ways(tiny_model: Path) -> None:
    seen: list[int] = []

    class Watched(HumanParser):
        def _forward(self, frames: Sequence[Frame]) -> Any:
            seen.extend(int(frame[0, 0, 0]) for frame in frames)
            return super()._forward(frames)

    with Watched(tiny_model, backend="onnxruntime", threads=1) as parser:
        found = stream_rates([candidate("x", parser)], rounds=1)
        assert set(found["x"]) == {OVERLAPPED, IN_TURN}
        assert seen == [0, 1, 2, 0, 1, 2, 0, 1] * 4  # two ways, one warm-up round and one that counts


def test_a_static_batch_is_not_measured_at_other_sizes_and_a_refusing_backend_is_noted(
    tiny_model: Path, dynamic_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[tuple[str, str]] = []
    told = lambda name, reason: notes.append((name, reason))  # noqa: E731
    with (
        HumanParser(tiny_model, threads=1, backend="onnxruntime") as one,
        HumanParser(dynamic_model, threads=1, backend="onnxruntime") as many,
    ):
        both = [candidate("one", one)]
        both.append(candidate("many", many))
        found = batch_sweep(both, (2,), Opening("cpu", 1), 1, told)
        assert {name: list(sizes) for name, sizes in found.items()} == {"one": [1], "many": [2]}

        def refuse(*arguments: object, **options: object) -> HumanParser:
            raise BackendError("no such profile")

        monkeypatch.setattr(HumanParser, "on", refuse)
        assert batch_sweep(both, (2,), Opening("cpu", 1), 1, told)["many"] == {}
    assert notes == [("many at batch 2", "no such profile")]


def test_rates_are_per_frame(dynamic_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call takes 80 made-up milliseconds."""
    parsed: list[int] = []

    class Watched(HumanParser):
        def _forward(self, frames: Sequence[Frame]) -> Any:
            parsed.append(len(frames))
            return super()._forward(frames)

    def pretend(runs: dict[str, Callable[[], object]], *settings: object) -> dict[str, Timing]:
        for call in runs.values():
            call()
        return {name: Timing.of([80.0]) for name in runs}

    monkeypatch.setattr(rounds, "interleave", pretend)
    monkeypatch.setattr(rounds, "HumanParser", Watched)
    with Watched(dynamic_model, threads=1, backend="onnxruntime") as parser:
        measured = [candidate("x", parser)]
        rates = batch_sweep(measured, (1, 4), Opening("cpu", 1), 1, pytest.fail)["x"]
        assert {size: timing.samples for size, timing in rates.items()} == {1: (80.0,), 4: (20.0,)}
        assert parsed == [1, 4]
        streams = stream_rates(measured, 1)["x"]
        assert {way: timing.samples for way, timing in streams.items()} == {OVERLAPPED: (10.0,), IN_TURN: (10.0,)}
        assert len(parsed) == 2 + 8 + 8
