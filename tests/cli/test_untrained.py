"""Labels of random weights mean nothing: every command that gives some says so, to people and to programs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.command import Run


def test_parse_says_so(ce2p: Run, tiny_model: Path, picture: Path) -> None:
    ending = ce2p("parse", picture, "--model", tiny_model, "--json", "result.json")
    assert ending.status == 0, ending.err
    assert "note: these weights are untrained: the labels mean nothing" in ending.err.splitlines()
    assert json.loads(Path("result.json").read_text())["weights"] == "untrained (random, seed 0)"


def test_benchmark_says_so(ce2p: Run, tiny_model: Path) -> None:
    quick = ("--size", "60x50", "--rounds", 1, "--warmup", 0, "--no-throughput", "--no-gate")
    ending = ce2p("benchmark", tiny_model, "--backends", "onnxruntime", *quick, "-o", "out")
    assert ending.status == 0, ending.err
    line = "tiny.onnx: its weights are untrained, so its labels, and the gate on them, mean nothing"
    assert line in ending.out
    assert line in Path("out/benchmark.md").read_text()
    assert json.loads(Path("out/benchmark.json").read_text())["candidates"][0]["weights"].startswith("untrained")
