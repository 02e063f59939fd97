"""Tables, CSV, Markdown and plots of made-up results."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from ce2p.benchmarking.report import (
    accuracy_table,
    csv_text,
    latency_table,
    markdown,
    method,
    p99_note,
    throughput_table,
)
from tests.benchmarking.made_up import WOBBLE, judgement, result, row, stages, three


def test_the_latency_table() -> None:
    columns, rows = latency_table(three())
    assert columns == (
        "model",
        "decode",
        "prepare",
        "network",
        "labels",
        "copy",
        "frame p50",
        "p95",
        "p99*",
        "whole p50",
        "frame / first",
        "pixels",
        "gate",
    )
    first, fast, wrong = rows
    assert first == (
        "a.onnx\nonnxruntime on cpu",
        "6.1",
        "1.0",
        "101.0",
        "4.2",
        "",
        "106.3",
        "108.4",
        "108.4",
        "112.3",
        "1.00\n[1.00, 1.00]\nthe first",
        "100.000 %",
        "reference",
    )
    assert fast[5] == "2.0"
    assert fast[-3:] == ("0.54\n[0.54, 0.54]\nfaster", "99.500 %", "passed")
    assert wrong[-3:] == ("0.29\n[0.29, 0.29]\nfails the gate", "97.000 %", "FAILED")
    assert p99_note(three()) == "* of 12 rounds (fewer than 100) p99 is the slowest"


def test_other_is_shown_where_it_matters_and_p99_unmarked_with_enough_rounds() -> None:
    many = result(row(stages=stages(wobble=WOBBLE * 9, other=20.0)))
    columns, _ = latency_table(many)
    assert "other" in columns
    assert "p99" in columns
    assert p99_note(many) == ""


def test_agreement_is_never_rounded_up_to_one() -> None:
    almost = result(row(), row("b.onnx", judgement=judgement("passed", 0.999996)))
    assert latency_table(almost)[1][1][-2] == "99.999 %"


def test_the_throughput_table_leaves_unmeasured_sizes_empty() -> None:
    found = throughput_table(result(row(), row("b.onnx", throughput={16: row().throughput[4]})))
    assert found is not None
    columns, rows = found
    assert columns == ("frames/s", "batch 1", "batch 4", "batch 16", "stream", "not overlapped", "gate")
    assert rows[0] == ("a.onnx onnxruntime", "9.4", "10.4", "", "9.3", "8.9", "reference")
    assert rows[1][1:4] == ("", "", "10.4")
    assert throughput_table(result(row(throughput={}, stream={}))) is None


def test_without_a_gate_the_report_says_so() -> None:
    free = result(row(judgement=judgement("not judged")))
    free = dataclasses.replace(free, settings={**free.settings, "gate": None})
    assert accuracy_table(free) is None
    assert any("NOT compared (--no-gate)" in line for line in method(free))
    assert "NOT compared" in markdown(free)


def test_csv_has_a_line_for_each_candidate_and_stage() -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(three()))))
    assert len(lines) == 7 + 8 + 7
    assert lines[2] == {
        "candidate": "a.onnx onnxruntime",
        "model": "a.onnx",
        "backend": "onnxruntime",
        "device": "cpu",
        "precision": "fp32",
        "batch": "1",
        "stage": "network",
        "p50_ms": "101.0000",
        "p95_ms": "103.0000",
        "p99_ms": "103.0000",
        "rounds": "12",
        "p99_is_slowest": "True",
        "gate": "reference",
        "pixel_agreement": "1.000000",
        "boundary_agreement": "0.990000",
        "mean_iou": "0.980000",
    }
    assert {line["gate"] for line in lines} == {"reference", "passed", "failed"}
    unjudged = csv_text(result(row(judgement=judgement("not judged")))).splitlines()[1]
    assert unjudged.endswith(",not judged,,,")


def test_markdown_holds_all_there_is_to_know() -> None:
    noisy = dataclasses.replace(three(), disturbances=("the load average was 3.0",), skipped={"d.onnx": "no backend"})
    text = markdown(noisy, ["latency.png"])
    for piece in (
        "A Processor, 2 cores, threads default",
        "onnxruntime 1.30.0; commit 0123456789ab with changes",
        "**This run was noisy:**\n\n- the load average was 3.0",
        "| b.onnx<br>onnxruntime on cpu | 6.1 | 1.0 | 50.5 | 4.2 | 2.0 |",
        "\\* of 12 rounds (fewer than 100) p99 is the slowest",
        "| c.onnx openvino | int8 | 97.000 % | 96.000 % | 95.000 % |  | synthetic person 3 | FAILED |",
        "- c.onnx openvino: pixel agreement is 97 %, expected at least 99 %",
        "- not measured: d.onnx: no backend",
        "![latency.png](latency.png)",
        "12 rounds after 3 that do not count",
        "against a.onnx (onnxruntime on cpu)",
        f"- a.onnx onnxruntime: models/a.onnx, sha256 {'0' * 64}",
    ):
        assert piece in text, piece
    assert "noisy" not in markdown(three())


def test_plots_are_whole_pictures_and_repeat(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from ce2p.benchmarking.plots import write_plots

    written = write_plots(three(), tmp_path / "one")
    names = {path.name for path in written}
    assert names == {f"{name}{end}" for name in ("latency", "throughput", "agreement") for end in (".png", ".svg")}
    for path in written:
        if path.suffix == ".png":
            picture = cv2.imread(str(path))
            assert picture is not None
            assert np.ptp(picture) > 200
    text = "".join(ElementTree.parse(tmp_path / "one/latency.svg").getroot().itertext())  # noqa: S314  (our own file)
    for piece in ("A Processor, 2 cores", "Latency of a picture by component", "c.onnx", "FAILS THE GATE", "copy"):
        assert piece in text, piece
    assert "NOISY" not in text
    write_plots(three(), tmp_path / "two")
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_plots_without_figures_are_left_out(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from ce2p.benchmarking.plots import write_plots

    bare = result(row(throughput={}, judgement=judgement("not judged")))
    assert {path.stem for path in write_plots(bare, tmp_path)} == {"latency"}
