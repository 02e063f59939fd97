"""What is inside: the layers of a network before the build, and of an engine after it.

The first needs no GPU. The second is the engine inspector's JSON; TensorRT 10 writes a tensor's format and type as one
text ("Format/Datatype") and the engine's tensors under "Bindings", TensorRT 11 splits the first and calls the second
"I/O Tensors". Both are read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ce2p_runtime.precisions import precision_named

from .failures import EngineError


@dataclass(frozen=True)
class NetworkLayer:
    """A layer as parsed, before TensorRT fuses it with others."""

    name: str
    type: str
    """TensorRT's LayerType, "CONVOLUTION"."""
    dtype: str
    """Of the first output, "FLOAT"."""
    shape: tuple[int, ...]
    """Of the first output; -1 where it depends on the batch."""


@dataclass(frozen=True)
class EngineLayer:
    """A layer as it runs."""

    name: str
    type: str
    """"CaskConvolution", "Reformat", "PluginV3", ...; empty where the plan keeps names only."""
    inputs: tuple[str, ...]
    """"fp32", "fp16", ..., of each input; "?" where unknown."""
    outputs: tuple[str, ...]
    plugin: str
    """The op of ours that it is, or nothing."""


def network_layers(network: Any) -> tuple[NetworkLayer, ...]:
    """Every layer of an INetworkDefinition."""
    layers = (network.get_layer(index) for index in range(network.num_layers))
    return tuple(
        NetworkLayer(
            layer.name,
            layer.type.name,
            layer.get_output(0).dtype.name if layer.num_outputs else "",
            tuple(layer.get_output(0).shape) if layer.num_outputs else (),
        )
        for layer in layers
    )


def inspect_plan(trt: Any, plan: bytes, logger: Any, *, host_code: bool) -> str:
    """The inspector's JSON of a plan, which is loaded for it: needs a GPU. Raises EngineError when it does not load.

    `host_code`: version-compatible plans carry a runtime of their own, which TensorRT loads only when allowed to.
    """
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = host_code
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError("the new engine does not load on the GPU it was built on; this is a fault of TensorRT")
    return str(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def engine_layers(text: str) -> tuple[EngineLayer, ...]:
    """Read the inspector's JSON of TensorRT 10 or 11. Raises EngineError when it is something else."""
    try:
        layers = json.loads(text)["Layers"]
        return tuple(_layer(layer) for layer in layers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"the engine inspector's report is not readable ({error!r}); report this TensorRT") from error


def silent_float32(layers: tuple[EngineLayer, ...], precision: str) -> tuple[str, ...]:
    """Names of layers that compute in float32 though the engine is of a `precision` with float16 inside.

    A layer computes in float32 when it neither reads nor writes a narrower float; reformatting and casting to float32
    is not computing, and neither is reading only float32 constants.
    """
    if precision_named(precision).half_for("tensorrt") != "float16":
        return ()
    return tuple(layer.name for layer in layers if _is_float32(layer))


def summary(layers: tuple[EngineLayer, ...]) -> dict[str, Any]:
    """For the sidecar: how many layers write which type, and which are ours."""
    types = Counter(layer.outputs[0] if layer.outputs else "?" for layer in layers)
    return {"layers": len(layers), "outputs": dict(types.most_common()), "ours": [x.name for x in layers if x.plugin]}


_MOVERS = ("reformat", "cast", "noop", "shapehostto", "signal", "wait", "constant")


def _is_float32(layer: EngineLayer) -> bool:
    if layer.type.lower().startswith(_MOVERS) or not layer.inputs:
        return False
    narrow = {"fp16", "bf16", "int8", "fp8", "uint8"}
    return "fp32" in layer.outputs and not narrow.intersection(layer.inputs + layer.outputs)


def _layer(layer: Any) -> EngineLayer:
    if isinstance(layer, str):  # built with LAYER_NAMES_ONLY
        return EngineLayer(layer, "", (), (), _ours(layer))
    texts = " ".join(str(layer.get(key, "")) for key in ("Name", "LayerType", "PluginType", "PluginName", "Metadata"))
    return EngineLayer(
        str(layer["Name"]),
        str(layer.get("LayerType", "")),
        tuple(_dtype(tensor) for tensor in layer.get("Inputs", ())),
        tuple(_dtype(tensor) for tensor in layer.get("Outputs", ())),
        _ours(texts),
    )


def _ours(text: str) -> str:
    match = re.search(r"CE2P(EdgeFusion|LabelMap)", text)
    return match[0] if match else ""


# Longest first: "bfloat16" holds "float16", "uint8" holds "int8".
_TYPES = (
    ("bf16", r"bf16|bfloat16"),
    ("fp16", r"fp16|float16|half"),
    ("fp8", r"fp8|e4m3"),
    ("uint8", r"uint8"),
    ("int8", r"int8"),
    ("int32", r"int32"),
    ("int64", r"int64"),
    ("bool", r"bool"),
    ("fp32", r"fp32|float32|float"),
)


def _dtype(tensor: dict[str, Any]) -> str:
    # "Format/Datatype" or "Datatype", in the spellings of several releases.
    texts = [str(value) for key, value in tensor.items() if "datatype" in key.lower().replace(" ", "")]
    text = " ".join(texts).lower()
    return next((name for name, pattern in _TYPES if re.search(pattern, text)), "?")
