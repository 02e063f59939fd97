"""What a checkpoint, an exported file or an engine holds: `ce2p.inspect`. Only checkpoints need torch."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import Any

from ce2p_runtime.base.files import file_sha256
from ce2p_runtime.model_files.engine_file import ENGINE_SUFFIXES, read_sidecar
from ce2p_runtime.model_files.metadata import ModelMetadata
from ce2p_runtime.onnx_check.model import FLOAT, FLOAT16, UINT8, Port

from .model_contract import contract, usual_ports


def inspect(file: str | Path, *, dataset: str | None = None, stride: int | None = None) -> dict[str, Any]:
    """Facts about a file by name, as plain types: family, classes, sizes, parameters, GFLOPs, provenance, SHA-256.

        ce2p.inspect("lip_int8_473x473.onnx")["gflops"]

    `dataset` and `stride` are for checkpoints that do not tell. Of an engine its .json is read; the engine itself is
    not loaded, which would run it. Raises CE2PError.
    """
    file = Path(file)
    if file.suffix in ENGINE_SUFFIXES:
        return _engine_facts(file)
    return _exported_facts(file) if file.suffix == ".onnx" else _checkpoint_facts(file, dataset, stride)


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
    """What an ONNX file says and holds, read without an ONNX library, so that the runtime alone suffices."""
    from ce2p_runtime.model_files.onnx_file import checked_metadata, onnx_graph
    from ce2p_runtime.onnx_check import survey

    metadata = checked_metadata(file)
    graph = onnx_graph(file)
    inputs, outputs = ({port.name: _port(port) for port in ports} for ports in (graph.inputs, graph.outputs))
    kind = {
        "kind": "exported ONNX model",
        "whole": "yes" if metadata.digest else "unknown: exported before files carried a digest",
    }
    found = {
        "inputs": inputs,
        "outputs": outputs,
        **contract(metadata, inputs, outputs),
        "parameters": sum(math.prod(tensor.shape) for tensor in graph.stored.values()),
        "gflops": round(2 * survey(graph).products / 1e9, 2),
        "operators": dict(Counter(node.op_type for node in graph.nodes).most_common()),
        "sha256": file_sha256(file),
    }
    return _together(kind, metadata, found)


def _port(port: Port) -> str:
    """ "FLOAT [batch, 3, 473, 473]"."""
    kinds = {FLOAT: "FLOAT", FLOAT16: "FLOAT16", UINT8: "UINT8"}
    return f"{kinds[port.elem_type]} [{', '.join('batch' if size is None else str(size) for size in port.shape)}]"


def _engine_facts(file: Path) -> dict[str, Any]:
    """What the sidecar says; the plan itself is not loaded, which would run it."""
    sidecar = read_sidecar(file)
    fields = dataclasses.asdict(sidecar)
    del fields["metadata"]
    fields["profiles"] = [profile.optimum for profile in sidecar.profiles]
    sha256 = file_sha256(file)
    inputs, outputs = usual_ports(sidecar.metadata, "batch")
    kind = {
        "kind": "TensorRT engine",
        "whole": "yes" if sha256 == sidecar.plan_sha256 else "no: another file than its .json was written for",
        **fields,
    }
    found = {"inputs": inputs, "outputs": outputs, **contract(sidecar.metadata, inputs, outputs), "sha256": sha256}
    return _together(kind, sidecar.metadata, found)


def _together(kind: dict[str, Any], metadata: ModelMetadata, found: dict[str, Any]) -> dict[str, Any]:
    """With the metadata in between. Nothing in its provenance, which may hold any name, can pass for a fact."""
    stated = dataclasses.asdict(metadata)
    extra = stated.pop("extra")
    del stated["digest"]
    facts = {**kind, **{name: value for name, value in stated.items() if name not in kind}}
    provenance = {name: value for name, value in extra.items() if name not in facts and name not in found}
    return {**facts, **provenance, **found}
