"""`ce2p inspect`: its options, and the facts of the front door as lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .ignored_options import INSPECT, refuse_ignored
from .options import Dataset, Json, Overwrite, Stride

_ONLY_IN_JSON = {"palette"}


def inspect(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Checkpoint, exported ONNX file or engine.")],
    dataset: Dataset = None,
    stride: Stride = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Show what a file holds: family, classes, sizes, parameters, GFLOPs, provenance."""
    refuse_ignored(context, INSPECT)
    from ce2p.api.inspect import inspect as facts_of

    from .console import write_json
    from .preflight import check_json

    check_json(json, [file], overwrite)
    facts = facts_of(file, dataset=dataset, stride=stride)
    if json:
        write_json(facts, json, "inspect")
    if json != "-":
        show(file, facts)


def show(file: Path, facts: Mapping[str, Any]) -> None:
    """Print what `ce2p.inspect` found."""
    from .console import fact_list, say

    shown = {name: _shown(name, value) for name, value in facts.items() if value not in (None, [], {}, ())}
    say(str(file), style="bold")
    fact_list({name.replace("_", " "): text for name, text in shown.items() if name not in _ONLY_IN_JSON})


def _shown(name: str, value: Any) -> str:
    """A value as a person reads it."""
    try:
        if name == "folds":
            return _folds(value)
        if name == "parity":
            return _parity(value)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return _plain(value)  # provenance of another form than ours is shown as it is
    if name == "class_names":
        return ", ".join(f"{index} {text}" for index, text in enumerate(value))
    return _plain(value)


def _folds(value: Any) -> str:
    before, after = value[0]["flops_before"], value[-1]["flops_after"]
    return f"{before / 1e9:.2f} -> {after / 1e9:.2f} GFLOP: " + ", ".join(
        f"{fold['name']} ({fold['count']})" for fold in value
    )


def _parity(value: Any) -> str:
    worst = min(value["rows"], key=lambda row: (row["pixel_agreement"], -(row["relative_l2"] or 0)))
    relative = max((row["relative_l2"] or 0 for row in value["rows"]), default=0)
    agreement = f"same label {worst['pixel_agreement']:.3%} (worst of {len(value['rows'])})"
    return f"{value['runtime']}: relative L2 at most {relative:.1e}, {agreement}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000:
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(f"({_plain(item)})" if isinstance(item, (list, tuple)) else _plain(item) for item in value)
    return str(value)
