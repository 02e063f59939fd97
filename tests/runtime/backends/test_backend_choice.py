"""The choice of a backend by measurement: on scripted backends and a scripted clock, so that no test waits or times."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ce2p_runtime import BackendError, HumanParser, ModelFileError
from ce2p_runtime.backends import BACKENDS, Backend, choice, choice_memory, choice_timing, open_backend
from ce2p_runtime.backends.averaging import AveragedBackend
from ce2p_runtime.backends.choice_memory import Option
from ce2p_runtime.backends.registry import OpenOptions
from ce2p_runtime.base.cache import CACHE_VARIABLE
from ce2p_runtime.model_files.onnx_file import onnx_properties
from tests.runtime.backends.scripted_backends import Scene, cached, put_cores, reason, set_scene, write_model


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scene:
    """Two backends, "slow" and "fast", on a machine of two cores without hyperthreads, with an empty cache."""
    return set_scene(monkeypatch, tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


def test_the_fastest_stays_and_the_losers_are_closed(scene: Scene, model: Path) -> None:
    backend = open_backend(model)
    assert backend.name == "fast"
    assert scene.loaded == [("slow", "cpu", None), ("fast", "cpu", None)]
    assert scene.closed == [("slow", None)]
    assert reason(backend).median_ms == {"slow": 20, "fast": 10}
    assert scene.runs("slow") == scene.runs("fast") == 1 + choice_timing.FEWEST_ROUNDS
    assert reason(backend).description == "chosen by time: fast 10 ms, slow 20 ms; measured now"


def test_what_was_measured_is_remembered_and_said(
    scene: Scene, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = reason(open_backend(model))
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "timing slow and fast once for this model and machine, which takes some seconds; remembered afterwards"
    ]
    loads, runs = len(scene.loaded), len(scene.batches)
    moved = model.rename(tmp_path / "renamed.onnx")
    with HumanParser(moved) as parser:
        assert parser.choice == dataclasses.replace(first, remembered=True)
        assert str(parser).endswith(
            f"; fast on cpu (chosen by time: fast 10 ms, slow 20 ms; remembered from {first.measured})"
        )
        averaged = HumanParser.on(AveragedBackend(parser.backend), name="averaged")
        assert averaged.choice == parser.choice
    assert scene.loaded[loads:] == [("fast", "cpu", None)]
    assert len(scene.batches) == runs, "a remembered choice was timed again"
    assert len(caplog.records) == 1


def test_a_changed_file_is_measured_anew(scene: Scene, model: Path) -> None:
    assert open_backend(model).name == "fast"
    before = model.stat()
    content = model.read_bytes()
    model.write_bytes(content.replace(b"untrained", b"untrainex"))  # as long as it was, and as old
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    scene.milliseconds["slow"] = lambda _: 1.0
    assert open_backend(model).name == "slow"
    model.write_bytes(content)
    assert open_backend(model).name == "fast", "the other file's choice was lost"


@pytest.mark.parametrize("what", ["versions", "processor", "cores", "package"])
def test_another_machine_or_version_is_measured_anew(
    scene: Scene, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    open_backend(model)
    scene.milliseconds["slow"] = lambda _: 1.0
    if what == "versions":
        monkeypatch.setattr(choice_memory, "backend_versions", lambda names: {"openvino": "2099.0"})
    elif what == "processor":
        monkeypatch.setattr(choice_memory, "cpu_model", lambda: "another one")
    elif what == "cores":
        put_cores(monkeypatch, tmp_path / "four", usable=4, siblings=["0", "1", "2", "3"])
    else:
        scene.milliseconds["third"] = lambda _: 5.0
        monkeypatch.setitem(BACKENDS, "third", scene.entry("third"))
    assert open_backend(model).name == "slow"
    assert len(cached(tmp_path)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:40],
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace('"fast"', '"sloww"'),
        lambda text: text.replace('"key": "', '"key": "0'),
        lambda text: text.replace('"median_ms": {', '"median_ms": {"fast": "soon", "x": {'),
        lambda text: text.replace('"threads": null', '"threads": 7'),
        lambda text: text.replace('"format": 1', '"format": 0'),
        lambda text: "[" * 60_000,
        lambda text: text + " " * 70_000,
        lambda text: text.replace('"fast": 10', f'"fast": {"9" * 5000}'),
        lambda text: text.replace('"fast": 10', '"fast": NaN'),
        lambda text: text.replace('"fast": 10', '"fast": -1'),
        lambda text: text.replace('"measured": "', '"measured": "x'),
    ],
)
def test_a_damaged_or_foreign_memory_is_ignored_and_rewritten(
    scene: Scene, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[str], str]
) -> None:
    open_backend(model)
    (file,) = cached(tmp_path)
    whole = file.read_text()
    assert damage(whole) != whole
    file.write_text(damage(whole))
    runs = len(scene.batches)
    assert not reason(open_backend(model)).remembered
    assert len(scene.batches) > runs
    assert [record.getMessage().count("measuring again") for record in caplog.records] == [1]
    assert json.loads(file.read_text()) == json.loads(whole)
    assert cached(tmp_path) == [file]


def test_a_cache_that_cannot_be_written_costs_one_warning(
    scene: Scene, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    for _ in range(2):
        caplog.clear()
        assert open_backend(model).name == "fast"
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "not remembered" in record.getMessage()
        assert "\n" not in record.getMessage()


def test_a_single_candidate_is_not_timed(
    scene: Scene, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(BACKENDS, "fast")
    backend = open_backend(model)
    assert (backend.name, backend.choice) == ("slow", None)
    assert scene.batches == []
    assert not (tmp_path / "cache").exists()
    with HumanParser(model) as parser:
        assert str(parser).endswith("; slow on cpu")


def test_what_does_not_load_is_left_out_and_named(scene: Scene, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene.no_load.add("fast")
    backend = open_backend(model)
    assert backend.name == "slow"
    text = "the only one that runs; fast left out: fast does not load; "
    assert reason(backend).description == f"{text}measured now"
    (record,) = caplog.records
    assert "fast is left out of the choice (fast does not load)" in record.getMessage()
    again = reason(open_backend(model))
    assert again.description == f"{text}remembered from {again.measured}"
    assert [name for name, _, _ in scene.loaded] == ["slow", "fast", "slow"]


@pytest.mark.parametrize("run", [1, 2, 1 + choice_timing.ROUNDS])
def test_what_fails_while_it_is_timed_is_left_out(scene: Scene, model: Path, run: int) -> None:
    scene.milliseconds["slow"] = lambda _: 14.0
    scene.fails_at_run["fast"] = run
    backend = open_backend(model)
    assert backend.name == "slow"
    assert reason(backend).left_out == {"fast": "fast broke"}
    assert set(reason(backend).median_ms) <= {"slow"}
    assert scene.closed == [("fast", None)]
    assert scene.runs("fast") == run, "it ran again after it had failed"


def test_where_nothing_loads_the_first_error_is_raised(scene: Scene, model: Path, tmp_path: Path) -> None:
    scene.no_load.update(("slow", "fast"))
    with pytest.raises(BackendError, match="slow does not load"):
        open_backend(model)
    assert not (tmp_path / "cache").exists()


def test_a_chosen_backend_that_fails_later_is_measured_anew(
    scene: Scene, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_backend(model)
    scene.no_load.add("fast")
    assert open_backend(model).name == "slow"
    assert "fast was chosen before and fails now (fast does not load)" in caplog.text
    loads = len(scene.loaded)
    assert open_backend(model).name == "slow"
    assert len(scene.loaded) == loads + 1


def test_given_threads_are_the_only_ones(scene: Scene, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.milliseconds = {"slow": lambda n: 5.0 if n == 7 else 30.0, "fast": lambda n: 10.0}
    backend = open_backend(model, threads=7)
    assert scene.loaded == [("slow", "cpu", 7), ("fast", "cpu", 7)]
    assert reason(backend).median_ms == {"slow with 7 threads": 5, "fast with 7 threads": 10}
    assert open_backend(model).name == "fast", "the choice for 7 threads was taken for the default"


@pytest.mark.parametrize(
    ("usable", "siblings", "counts"),
    [
        (2, ["0", "1"], [None]),
        (4, ["0,2", "1,3", "0,2", "1,3"], [None, 4]),
        (2, ["0", "1", "2", "3"], [None, 2]),
        (1, ["0"], [None]),
        (2, [], [None, 2]),
    ],
    ids=["as many", "hyperthreads", "restricted", "one", "unknown"],
)
def test_threads_worth_trying(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, usable: int, siblings: list[str], counts: list[int | None]
) -> None:
    put_cores(monkeypatch, tmp_path, usable, siblings)
    assert choice.options_for(["a", "b"], None) == [Option(name, count) for name in "ab" for count in counts]
    assert choice.options_for(["a", "b"], 3) == [Option("a", 3), Option("b", 3)]


def test_the_better_number_of_threads_is_found_and_remembered(
    scene: Scene, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_cores(monkeypatch, tmp_path / "smt", usable=4, siblings=["0,1", "0,1", "2,3", "2,3"])
    scene.milliseconds["slow"] = lambda threads: 6.0 if threads == 4 else 20.0
    for expected in ("measured now", "remembered from"):
        backend = open_backend(model)
        assert scene.loaded[-1 if expected != "measured now" else 1] == ("slow", "cpu", 4)
        assert reason(backend).option == Option("slow", 4)
        assert "chosen by time: slow with 4 threads 6 ms, fast 10 ms, " in reason(backend).description
        assert expected in reason(backend).description
    assert sorted(scene.closed, key=str) == [("fast", 4), ("fast", None), ("slow", None)]


@pytest.mark.parametrize(
    ("changes", "dtype", "shape"),
    [
        ({}, np.float32, (1, 3, 8, 12)),
        ({"io": "float16"}, np.float16, (1, 3, 8, 12)),
        ({"input_kind": "uint8", "io": "float16"}, np.uint8, (1, 8, 12, 3)),
    ],
    ids=["float32", "float16", "uint8"],
)
def test_it_is_timed_on_the_networks_own_kind_of_input(
    scene: Scene, tmp_path: Path, changes: dict[str, Any], dtype: type, shape: tuple[int, ...]
) -> None:
    open_backend(write_model(tmp_path / "kind.onnx", **changes))
    assert {(batch.dtype, batch.shape) for _, batch in scene.batches} == {(np.dtype(dtype), shape)}
    assert len(np.unique(scene.batches[0][1])) > 50


def gated(tmp_path: Path, gate: object) -> Path:
    return write_model(tmp_path / "gated.onnx", extra={"gate": gate})


def test_auto_takes_only_backends_that_passed_the_gate(scene: Scene, tmp_path: Path) -> None:
    assert open_backend(gated(tmp_path, {"passed_on": ["slow"]})).name == "slow"
    assert [name for name, _, _ in scene.loaded] == ["slow"]
    assert open_backend(gated(tmp_path, {"passed_on": ["tensorrt", "slow", "fast"]})).name == "fast"


@pytest.mark.parametrize(
    ("passed", "message"),
    [
        (["openvino"], r'passed on openvino, installed .* slow, fast; pip install "\.\[openvino\]" in .*, or name'),
        (["other", "onnxruntime"], r'passed on other, onnxruntime, .*; pip install "\.\[cpu\]" in .*, or name'),
        ([], "passed on no backend, installed for it is slow, fast; export it again, or name"),
    ],
)
def test_auto_refuses_where_no_installed_backend_passed(
    scene: Scene, tmp_path: Path, passed: list[str], message: str
) -> None:
    with pytest.raises(BackendError, match=message) as caught:
        open_backend(gated(tmp_path, {"passed_on": passed}))
    assert "\n" not in str(caught.value)
    assert scene.loaded == []


def test_a_gpu_is_taken_without_timing_unless_its_backend_did_not_pass(
    scene: Scene, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.milliseconds["onnxruntime"] = lambda _: 1.0
    on_cpu = scene.entry("onnxruntime")
    where = {"device": "cuda:0"}

    def open_on_gpu(path: Path, how: OpenOptions) -> Backend:
        opened = on_cpu.open(path, how)
        opened.device = "cpu" if how.device == "cpu" else where["device"]
        return opened

    able = scene.entry("onnxruntime", devices=("cpu", "cuda"), finds_gpu=lambda: True, open=open_on_gpu)
    monkeypatch.setitem(BACKENDS, "onnxruntime", able)
    assert open_backend(model).device == "cuda:0"
    assert open_backend(model, device="cuda").device == "cuda:0"
    assert open_backend(gated(tmp_path, {"passed_on": ["onnxruntime"]})).device == "cuda:0"
    assert (scene.batches, scene.closed) == ([], [])
    assert open_backend(gated(tmp_path, {"passed_on": ["slow", "fast"]})).name == "fast"
    assert reason(open_backend(model, device="cpu")).option == Option("onnxruntime")
    where["device"] = "cpu"  # the provider is there and does not load
    scene.closed.clear()
    assert reason(open_backend(model)).option == Option("onnxruntime")
    assert scene.closed == [("onnxruntime", None)]


@pytest.mark.parametrize("gate", [{}, {"passed_on": "openvino"}, {"passed_on": [1]}, None, "passed"])
def test_a_garbled_record_of_the_gate_is_refused(scene: Scene, tmp_path: Path, gate: object) -> None:
    for name in ("auto", "slow"):
        with pytest.raises(ModelFileError, match="'passed_on'; export it again"):
            open_backend(gated(tmp_path, gate), name)
    assert len(scene.loaded) == len(scene.closed) == 1


def test_a_backend_asked_for_by_name_that_did_not_pass_is_a_warning(
    scene: Scene, tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = gated(tmp_path, {"passed_on": ["fast", "openvino"]})
    assert open_backend(file, "slow").name == "slow"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "gate was passed on fast, openvino, not on slow: check with `ce2p verify`" in record.getMessage()
    caplog.clear()
    open_backend(file, "fast")
    open_backend(model, "slow")
    assert caplog.records == []
    assert scene.batches == [], "a backend asked for by name was timed"


@pytest.mark.parametrize("content", [b"\x08\x0a\x3a\xff\x01", b"\x0b", b"\xff" * 12, b"\x08"])
def test_a_damaged_file_is_one_line(scene: Scene, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"cut\.onnx: not a readable ONNX model \(") as caught:
        open_backend(path)
    assert "\n" not in str(caught.value)


def test_properties_are_those_that_onnx_reads(tiny_model: Path) -> None:
    assert onnx_properties(tiny_model) == {p.key: p.value for p in onnx.load(str(tiny_model)).metadata_props}


def test_real_backends_are_chosen_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    # The pass that a remembered time is checked with: long enough, whatever else this machine does meanwhile.
    monkeypatch.setattr(choice, "timed", lambda run: (float("inf"), run()))
    frame = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    with HumanParser(tiny_model, device="cpu") as first, HumanParser(tiny_model, device="cpu") as second:
        assert first.choice is not None
        assert first.choice.left_out == {}
        assert {name.partition(" ")[0] for name in first.choice.median_ms} == set(BACKENDS)
        assert second.choice == dataclasses.replace(first.choice, remembered=True)
        assert first.backend.name == second.backend.name == first.choice.option.backend
        np.testing.assert_array_equal(first(frame).labels, second(frame).labels)
