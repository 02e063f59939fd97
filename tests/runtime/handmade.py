"""A network of two convolutions with our metadata, made by hand: what runs in a tenth of a millisecond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ce2p_runtime.model_files.metadata import METADATA_KEY, Geometry, ModelMetadata, Normalisation

__all__ = ["CLASSES", "SIZE", "metadata", "write_network"]

SIZE = (32, 48)
CLASSES = 6


def metadata(precision: str = "fp32") -> ModelMetadata:
    names = tuple(f"class {number}" for number in range(CLASSES))
    palette = tuple((40 * number, 255 - 40 * number, 7 * number) for number in range(CLASSES))
    return ModelMetadata(
        family="schp",
        dataset="lip",
        class_names=names,
        palette=palette,
        flip_pairs=(),
        normalisation=Normalisation("bgr", 1 / 255, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        geometry=Geometry("affine", False, "float", "logits"),
        align_corners=True,
        input_size=SIZE,
        output_stride=16,
        input_kind="float",
        output_kind="logits",
        precision=precision,
        weights="untrained",
        untrained=True,
    )


def write_network(path: Path, *, precision: str = "fp32", batch: int | str = 1) -> Path:
    """float [batch, 3, 32, 48] to logits of 6 classes at a quarter of that; every picture has labels of its own."""
    draw = np.random.default_rng(0)
    weights = {
        "one": draw.standard_normal((8, 3, 3, 3), np.float32),
        "two": draw.standard_normal((CLASSES, 8, 3, 3), np.float32),
    }
    conv = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["input", "one"], ["a"], **conv),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "two"], ["logits"], **conv),
    ]
    graph = helper.make_graph(
        nodes,
        "handmade",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, *SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES, SIZE[0] // 4, SIZE[1] // 4])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key=METADATA_KEY, value=metadata(precision).to_json())
    onnx.save(model, str(path))
    return path
