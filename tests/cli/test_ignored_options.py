"""Options that would be ignored are refused before anything is read; those that matter are not."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer

from ce2p.cli.app import app
from ce2p.cli.ignored_options import BENCHMARK, EXPORT, INSPECT, PEOPLE, VAL, VERIFY, Rule, refuse_ignored
from ce2p.errors import ConfigError

TABLES: dict[str, tuple[Rule, ...]] = {
    "export": EXPORT,
    "verify": VERIFY,
    "val": VAL,
    "benchmark": BENCHMARK,
    "people": PEOPLE,
    "inspect": INSPECT,
}


def context_of(line: str) -> typer.Context:
    """What the command line `line` makes of its options; the command itself does not run."""
    name, *arguments = shlex.split(line)
    group: Any = typer.main.get_command(app)
    made: typer.Context = group.commands[name].make_context(name, arguments)
    return made


def check(line: str) -> None:
    refuse_ignored(context_of(line), TABLES[line.split()[0]])


@pytest.mark.parametrize(
    ("line", "refused", "why"),
    [
        ("export x.pth --tf32 --no-plugins", ["--no-plugins", "--tf32"], "only for engines; add --format engine"),
        ("export x.pth --workspace 4", ["--workspace"], "only for engines"),
        ("export x.pth --opt-level 3", ["--opt-level"], "only for engines"),  # the default's value, said by the user
        ("export x.pth --version-compatible --rebuild", ["--version-compatible", "--rebuild"], "only for engines"),
        ("export x.pth --hardware-compatibility none", ["--hardware-compatibility"], "only for engines"),
        ("export x.onnx --format engine --edge --no-fold", ["--edge", "--no-fold"], "settled in an ONNX file"),
        ("export x.onnx --format engine --precision fp16", ["--precision"], "settled in an ONNX file"),
        ("export x.onnx --format engine --gate-count 3", ["--gate-count"], "is not judged"),
        ("export x.onnx --format engine --gate pixel_agreement=0.9", ["--gate"], "is not judged"),
        ("export x.pth --seed 1", ["--seed"], "only for random weights; add --random"),
        ("export x.pth --io float16", ["--io"], "the inside is fp32; expected --precision fp16"),
        ("export x.pth --io float16 --precision int8", ["--io"], "the inside is int8; expected --precision fp16"),
        ("export x.pth --target tensorrt", ["--target"], "only for --precision int8, and this is fp32"),
        ("export x.pth --calib a --calib-count 3", ["--calib", "--calib-count"], "only for --precision int8"),
        ("export x.pth --calib-method mse --precision fp16", ["--calib-method"], "and this is fp16"),
        ("export x.pth --format engine --precision int8 --target cpu", ["--target"], "which TensorRT refuses"),
        ("export x.pth --low-rank --precision bf16", ["--low-rank"], "and this is bf16"),
        ("export x.pth --no-low-rank --precision int8 --target tensorrt", ["--no-low-rank"], "only for CPUs"),
        ("export x.pth --no-low-rank --precision int8 --format engine", ["--no-low-rank"], "only for CPUs"),
        ("export x.pth --low-rank --precision int8", ["--low-rank"], "only with your own pictures"),
        ("export x.pth --no-search", ["--no-search"], "only for lower precisions, and this is fp32"),
        ("export x.pth --search --precision int8 --gate off", ["--search"], "which --gate off switches off"),
        ("export x.pth --gate off --gate-count 2 --backend openvino", ["--gate-count", "--backend"], "--gate off"),
        ("export x.pth --gate off --data people", ["--data"], "which --gate off switches off"),
        ("verify a.pth b.onnx --trust-engine", ["--trust-engine"], "neither file is one"),
        ("val a.onnx --data d --trust-engine", ["--trust-engine"], "MODEL is none"),
        ("val --data d --instances r --flip --scales 1,2", ["--flip", "--scales"], "scores results on disk"),
        ("val --data d --instances r --batch 1", ["--batch"], "scores results on disk"),
        ("benchmark a.onnx --tolerance 3", ["--tolerance"], "only with --compare OLD.json"),
        ("benchmark a.json --compare b.json --rounds 3 -o x", ["--rounds", "-o"], "a saved result is just compared"),
        ("benchmark a.json --compare b.json --no-gate", ["--no-gate"], "a saved result is just compared"),
        ("benchmark a.onnx --source v.mp4 --size 60x50", ["--size"], "--source brings its own"),
        ("benchmark a.onnx --no-throughput --batches 1", ["--batches"], "only for the throughput"),
        ("people a --global g.onnx --instances i --detector-weights w", ["--detector-weights"], "--detector maskrcnn"),
        ("people a --global g.onnx --instances i --save results --opacity 0.3", ["--opacity"], "only for overlays"),
        ("inspect x.onnx --os 8", ["--os"], "only for checkpoints"),
        ("inspect x.engine --dataset lip", ["--dataset"], "only for checkpoints"),
    ],
)
def test_what_would_be_ignored_is_refused_in_one_line(line: str, refused: list[str], why: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        check(line)
    options, _, text = str(refusal.value).partition(": ")
    assert options.split(", ") == refused
    assert why in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "line",
    [
        "export x.pth",
        "export x.pth --format engine --tf32 --no-plugins --workspace 4 --rebuild --precision fp16 --io float16",
        "export lip-r18-os16 --random --seed 3 --family schp",
        "export x.pth --precision int8 --calib a --calib-count 3 --calib-method mse --low-rank --target cpu",
        "export x.pth --precision int8 --no-search",
        "export x.pth --precision int8 --target tensorrt --io float16",
        "export x.pth --precision int8 --data a --low-rank",
        "export x.pth --precision int8 --no-low-rank",
        "export x.pth --precision int8 --gate off --data a",  # calibrates on it
        "export x.pth --precision fp16 --gate off --no-search",  # the proof may ask for a search, too
        "export x.pth --gate pixel_agreement=0.9 --gate-count 3 --data a --backend openvino",
        "export x.onnx --format engine --batch 1,4 --rebuild --gate off",
        "verify a.engine b.onnx --trust-engine",
        "val a.engine --data d --trust-engine --flip",
        "val --data d --instances r --strict --limit 3 --split val --dataset cihp",
        "benchmark a.onnx --compare b.json --tolerance 3 --rounds 2 -o x",
        "benchmark a.onnx --source v.mp4 --batches 1",
        "people a --global g.onnx --detector maskrcnn --detector-weights w --opacity 0.3",
        "inspect x.pth --os 8 --dataset lip",
    ],
)
def test_what_has_an_effect_is_taken(line: str) -> None:
    check(line)


@pytest.mark.parametrize(("command", "rule"), [(name, rule) for name, table in TABLES.items() for rule in table])
def test_every_rule_is_about_options_that_the_command_has(command: str, rule: Rule) -> None:
    group: Any = typer.main.get_command(app)
    known = {parameter.name for parameter in group.commands[command].params}
    assert set(rule.names.split()) <= known
