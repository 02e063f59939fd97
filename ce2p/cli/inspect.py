"""`ce2p inspect`: what a checkpoint, an exported file or an engine holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ce2p_runtime.engine_file import ENGINE_SUFFIXES, file_sha256, read_sidecar

from .console import fact_list, say, write_json

__all__ = ["run"]

_ONLY_IN_JSON = {"palette"}


def run(file: Path, dataset: str | None, stride: int | None, json: str | None) -> None:
    """Inspect and print. Raises CE2PError or CE2PRuntimeError."""
    if file.suffix in ENGINE_SUFFIXES:
        facts = _engine_facts(file)
    else:
        facts = _exported_facts(file) if file.suffix == ".onnx" else _checkpoint_facts(file, dataset, stride)
    if json:
        write_json(facts, json, "inspect")
    if json != "-":
        shown = {name: _shown(name, value) for name, value in facts.items() if value not in (None, [], {}, ())}
        say(str(file), style="bold")
        fact_list({name.replace("_", " "): text for name, text in shown.items() if name not in _ONLY_IN_JSON})


def _checkpoint_facts(file: Path, dataset: str | None, stride: int | None) -> dict[str, Any]:
    from ce2p.checkpoints import load_checkpoint
    from ce2p.flops import count_parameters
    from ce2p_export import deploy

    loaded = load_checkpoint(file, dataset=dataset, output_stride=stride)
    deployed = deploy(loaded.net.to("meta"), loaded.input_size)  # counting needs shapes only
    return {
        "kind": "checkpoint",
        "layout": f"{loaded.layout}, {loaded.wrapper}",
        "family": loaded.config.family,
        "backbone": loaded.config.backbone,
        "output_stride": loaded.config.output_stride,
        "dataset": loaded.labels.title,
        "num_classes": loaded.config.num_classes,
        "class_names": list(loaded.labels.names),
        "norm": loaded.norm,
        "input_size": list(loaded.input_size),
        "parameters": count_parameters(loaded.net),
        "gflops": round(deployed.flops_before / 1e9, 2),
        "gflops_folded": round(deployed.flops_after / 1e9, 2),
        "weights": loaded.weights,
        "sha256": loaded.sha256,
        "notes": list(loaded.notes),
        "training": loaded.training,
    }


def _exported_facts(file: Path) -> dict[str, Any]:
    from ce2p.checkpoints import sha256_of
    from ce2p_export.onnx_facts import read_onnx
    from ce2p_runtime.backends.base import check_model_file, metadata_from

    check_model_file(file)
    facts = read_onnx(file)
    fields = dataclasses.asdict(metadata_from(file, facts.properties))
    extra = fields.pop("extra")
    return {
        "kind": "exported ONNX model",
        **fields,
        **extra,
        "inputs": facts.inputs,
        "outputs": facts.outputs,
        "parameters": facts.parameters,
        "gflops": round(facts.flops / 1e9, 2),
        "operators": facts.operators,
        "sha256": sha256_of(file),
    }


def _engine_facts(file: Path) -> dict[str, Any]:
    """What the sidecar says; the plan itself is not loaded, which would run it."""
    sidecar = read_sidecar(file)
    fields = dataclasses.asdict(sidecar)
    metadata = fields.pop("metadata")
    fields["profiles"] = [profile.optimum for profile in sidecar.profiles]
    sha256 = file_sha256(file)
    return {
        "kind": "TensorRT engine",
        "whole": "yes" if sha256 == sidecar.plan_sha256 else "no: another file than its .json was written for",
        **fields,
        **metadata.pop("extra"),
        **metadata,
        "sha256": sha256,
    }


def _shown(name: str, value: Any) -> str:
    """A value as a person reads it."""
    if name == "folds":
        before, after = value[0]["flops_before"], value[-1]["flops_after"]
        return f"{before / 1e9:.2f} -> {after / 1e9:.2f} GFLOP: " + ", ".join(
            f"{fold['name']} ({fold['count']})" for fold in value
        )
    if name == "parity":
        worst = min(value["rows"], key=lambda row: (row["pixel_agreement"], -(row["relative_l2"] or 0)))
        relative = max((row["relative_l2"] or 0 for row in value["rows"]), default=0)
        agreement = f"same label {worst['pixel_agreement']:.3%} (worst of {len(value['rows'])})"
        return f"{value['runtime']}: relative L2 at most {relative:.1e}, {agreement}"
    if name == "class_names":
        return ", ".join(f"{index} {text}" for index, text in enumerate(value))
    return _plain(value)


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
