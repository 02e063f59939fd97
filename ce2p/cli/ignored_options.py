"""Options that would be ignored, because of another option or of the file given: one table per command, all refused.

Only options that stand on the command line count, so a default never contradicts anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import typer

from ce2p.errors import ConfigError
from ce2p_runtime.media.live.kinds import is_live
from ce2p_runtime.model_files.engine_file import ENGINE_SUFFIXES
from ce2p_runtime.precisions import PRECISIONS, Target


@dataclass(frozen=True)
class Rule:
    """Parameters that have no effect where `idle` says so."""

    names: str
    """Of the command's parameters, separated by blanks."""
    idle: Callable[[Any], bool]
    """Asked with every parameter of the command as an attribute, choices as their plain text."""
    why: str
    """What they are for and the cure, as the rest of a line that begins with the options. {name}: a parameter."""


def refuse_ignored(context: typer.Context, rules: tuple[Rule, ...]) -> None:
    """Raise ConfigError, in one line, for the first rule that options on the command line break.

    def export(context: typer.Context, ...):
        refuse_ignored(context, EXPORT)
    """
    values = {name: getattr(value, "value", value) for name, value in context.params.items()}
    given = SimpleNamespace(**values)
    for rule in rules:
        if not rule.idle(given):
            continue
        spelt = [_spelt(context, name, values[name]) for name in rule.names.split() if _is_given(context, name)]
        if spelt:
            raise ConfigError(f"{', '.join(spelt)}: {rule.why.format_map(values)}")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _spelt(context: typer.Context, name: str, value: object) -> str:
    """An option as it was typed: `--no-search` for a switch that was switched off."""
    parameter = next(parameter for parameter in context.command.params if parameter.name == name)
    return str(((value is False and parameter.secondary_opts) or parameter.opts)[0])


def _is_engine(path: object) -> bool:
    return str(path).endswith(tuple(ENGINE_SUFFIXES))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _is_exported(path: object) -> bool:
    return _is_engine(path) or str(path).endswith(".onnx")


def _to_engine(given: Any) -> bool:
    return bool(given.format_ == "engine")


def _from_onnx(given: Any) -> bool:
    return _to_engine(given) and str(given.model).lower().endswith(".onnx")


def _ungated(given: Any) -> bool:
    return "off" in (given.gate or ())


def _target(given: Any) -> Target:
    target: Target = given.target or ("tensorrt" if _to_engine(given) else "cpu")
    return target


def _calibrated(given: Any) -> bool:
    return PRECISIONS[given.precision].calibrated


def _without_own_pictures(given: Any) -> bool:
    return given.calib is None and given.data is None


def _only_compares(given: Any) -> bool:
    return [str(model).endswith(".json") for model in given.models] == [True]


EXPORT = (
    Rule(
        "imgsz input_kind output_kind edge fold dataset stride family random seed precision io target calib "
        "calib_count calib_method search low_rank",
        _from_onnx,
        "settled in an ONNX file already; leave out, or export it again from its checkpoint",
    ),
    Rule(
        "data gate gate_count backend",
        lambda given: _from_onnx(given) and not _ungated(given),
        "only for judging labels, and an engine made from an ONNX file is not judged; leave out, and run `ce2p verify` "
        "afterwards",
    ),
    Rule(
        "workspace opt_level no_plugins tf32 version_compatible hardware_compatibility rebuild",
        lambda given: not _to_engine(given),
        "only for engines; add --format engine, or leave out",
    ),
    Rule("seed", lambda given: not given.random, "only for random weights; add --random, or leave out"),
    Rule(
        "io",
        lambda given: given.io == "float16" and PRECISIONS[given.precision].half_for(_target(given)) != "float16",
        "float16 inputs and outputs asked for, but the inside is {precision}; expected --precision fp16, or int8 with "
        "--target tensorrt",
    ),
    Rule(
        "target calib calib_count calib_method low_rank",
        lambda given: not _calibrated(given),
        "only for --precision int8, and this is {precision}; change that, or leave out (--data names pictures to "
        "compare labels on)",
    ),
    Rule(
        "target",
        lambda given: _to_engine(given) and given.target == "cpu",
        "int8 for CPUs has zero points, which TensorRT refuses; leave out, engines take tensorrt",
    ),
    Rule(
        "low_rank",
        lambda given: _target(given) == "tensorrt",
        "only for CPUs, and this file is for TensorRT; leave out",
    ),
    Rule(
        "low_rank",
        lambda given: given.low_rank and _without_own_pictures(given),
        "only with your own pictures: synthetic people do not show what photographs need; add --calib, or leave out",
    ),
    Rule(
        "search",
        lambda given: PRECISIONS[given.precision].exact,
        "only for lower precisions, and this is {precision}; leave out",
    ),
    Rule(
        "search",
        lambda given: _calibrated(given) and _ungated(given),
        "only with the gate, which --gate off switches off; leave one of them out",
    ),
    Rule("gate_count backend", _ungated, "only with the gate, which --gate off switches off; leave one of them out"),
    Rule(
        "data",
        lambda given: _ungated(given) and not (_calibrated(given) and given.calib is None),
        "only with the gate, which --gate off switches off; leave one of them out",
    ),
)

VERIFY = (
    Rule(
        "trust_engine",
        lambda given: not _is_engine(given.reference) and not _is_engine(given.candidate),
        "only for TensorRT engines, and neither file is one; leave out",
    ),
)

VAL = (
    Rule(
        "imgsz flip scales backend device threads batch stride trust_engine",
        lambda given: given.instances is not None,
        "only for a network that runs, and --instances scores results on disk; leave one of them out",
    ),
    Rule(
        "trust_engine",
        lambda given: not _is_engine(given.model),
        "only for TensorRT engines, and MODEL is none; leave out",
    ),
)

BENCHMARK = (
    Rule("tolerance", lambda given: given.compare is None, "only with --compare OLD.json; add that, or leave out"),
    Rule(
        "backends device size source rounds warmup threads batches throughput reference data gate output",
        _only_compares,
        "only for measuring, and a saved result is just compared; leave out, or give model files",
    ),
    Rule(
        "size",
        lambda given: given.source is not None,
        "only for drawn frames, and --source brings its own; leave one of them out",
    ),
    Rule(
        "batches",
        lambda given: not given.throughput,
        "only for the throughput, which --no-throughput switches off; leave one of them out",
    ),
)

PARSE = (
    Rule(
        "classes",
        lambda given: "cutout" not in _names(given.save or ""),
        "only for cut-outs; add --save cutout, or leave out",
    ),
    Rule(
        "opacity",
        lambda given: given.save is not None and "overlay" not in _names(given.save),
        "only for overlays, and --save {save} writes none; leave out",
    ),
    Rule(
        "labels",
        lambda given: given.save is not None and "labels" not in _names(given.save),
        "only for label maps, and --save {save} writes none; leave out",
    ),
    Rule("trust_engine", lambda given: not _is_engine(given.model), "only for engines; leave out"),
    Rule(
        "live raw timeout reconnect stream_option",
        lambda given: not is_live(given.source),
        "only for a camera, a stream or standard input (-), and the source is a file; leave out",
    ),
    Rule(
        "timeout reconnect stream_option",
        lambda given: given.source == "-",
        "only for a camera or a stream, and standard input ends where its writer ends it; leave out",
    ),
    Rule("raw", lambda given: given.source != "-", "only for bare pixels on standard input (-); leave out"),
)

PEOPLE = (
    Rule(
        "detector_weights",
        lambda given: given.detector is None,
        "only with --detector maskrcnn; add that, or leave out",
    ),
    Rule(
        "opacity",
        lambda given: "overlay" not in given.save.split(","),
        "only for overlays, and --save {save} writes none; leave out",
    ),
)

INSPECT = (
    Rule(
        "dataset stride",
        lambda given: _is_exported(given.file),
        "only for checkpoints, and an exported file knows its own; leave out",
    ),
)
