"""How an exported network is fed and read, in words: what somebody needs who runs the file without this package."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ce2p_runtime.model_files.metadata import ModelMetadata


def usual_ports(metadata: ModelMetadata, batch: str) -> tuple[dict[str, str], dict[str, str]]:
    """Names, types and shapes of inputs and outputs as every export has them, for files that do not tell."""
    height, width = metadata.input_size
    io = "FLOAT16" if metadata.io == "float16" else "FLOAT"
    inputs = {"image": f"{io} [{batch}, 3, {height}, {width}]"}
    if metadata.input_kind == "uint8":
        inputs = {"pixels": f"UINT8 [{batch}, {height}, {width}, 3]"}
    low = f"{math.ceil(height / 4)}, {math.ceil(width / 4)}"
    outputs = {"parsing": f"{io} [{batch}, {metadata.num_classes}, {low}]"}
    if metadata.output_kind == "labels":
        outputs = {"labels": f"UINT8 [{batch}, {height}, {width}]"}
    if metadata.edge:
        outputs["edge"] = f"{io} [{batch}, 2, {low}]"
    return inputs, outputs


def contract(metadata: ModelMetadata, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, str]:
    """What to give and what comes back. `inputs`, `outputs`: name -> type and shape."""
    (name, shape), *_ = inputs.items()
    (first, out_shape), *more = outputs.items()
    edge = "".join(f"; {other}: {described}, logits of no edge and edge" for other, described in more)
    return {
        "feed": f"{name}: {shape}, {_fitting(metadata)}, {_values(metadata)}",
        "result": f"{first}: {out_shape}, {_meaning(metadata)}{edge}",
    }


def _fitting(metadata: ModelMetadata) -> str:
    height, width = metadata.input_size
    geometry = metadata.geometry
    if geometry.kind == "resize":
        return f"the frame stretched to {height}x{width} (bilinear, half-pixel centres)"
    factor = "S / extent" if geometry.half_pixel else "(S - 1) / extent"
    return f"the frame warped to {height}x{width}, aspect kept (factor {factor}), centred on black (bilinear)"


def _values(metadata: ModelMetadata) -> str:
    if metadata.input_kind == "uint8":
        return "pixels 0 to 255 in the order BGR, channels last; the graph normalises"
    norm = metadata.normalisation
    mean, std = (", ".join(f"{value:.6g}" for value in values) for values in (norm.mean, norm.std))
    scaled = "pixel" if norm.scale == 1 else f"pixel * {norm.scale:.6g}"
    return f"({scaled} - mean) / std in the order {norm.colour_order.upper()}, mean ({mean}), std ({std})"


def _meaning(metadata: ModelMetadata) -> str:
    back = "warp back with the inverse matrix" if metadata.geometry.kind == "affine" else "resize to the frame"
    if metadata.output_kind == "labels":
        return f"classes 0 to {metadata.num_classes - 1}; {back} by nearest neighbour"
    height, width = metadata.input_size
    corners = "align_corners" if metadata.align_corners else "half-pixel centres"
    up = f"upsample to {height}x{width} (bilinear, {corners})"
    order = f"argmax, {back}" if metadata.geometry.unwarp == "labels" else f"{back}, argmax"
    return f"logits; {up}, {order}"
