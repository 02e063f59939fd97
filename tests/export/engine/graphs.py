"""Graphs for the engine tests: tiny networks of every kind, exported without the proof, and int8 copies of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import inliner
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from ce2p.families import preprocessing_for
from ce2p.models import CE2P
from ce2p_export import GraphOptions, deploy
from ce2p_export.onnx_graph import build_graph

__all__ = ["quantised", "written"]


def written(net: CE2P, options: GraphOptions, path: Path) -> Path:
    """Deploy and trace `net`; the file carries no metadata and is not proven."""
    folded = deploy(net, options.size, keep_edge=options.edge).net
    model, _ = build_graph(folded, preprocessing_for(net.config.family), options)
    ir.save(model, path)
    return path


class _Noise(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, model: onnx.ModelProto) -> None:
        value = model.graph.input[0]
        shape = tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        rng = np.random.default_rng(0)
        if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8:
            samples: list[NDArray[Any]] = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2)]
        else:
            samples = [rng.standard_normal(shape, np.float32) for _ in range(2)]
        self._feeds = iter([{value.name: sample} for sample in samples])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._feeds, None)


def quantised(source: Path, path: Path, *, symmetric: bool) -> Path:
    """An int8 copy: `symmetric` as TensorRT wants it (int8, zero point 0), else as CPUs do (uint8 activations)."""
    pure = inliner.inline_local_functions(onnx.load(str(source)))
    inlined = path.with_suffix(".pure.onnx")
    onnx.save(pure, str(inlined))
    quantize_static(
        inlined,
        path,
        _Noise(pure),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True, "QuantizeBias": False},
    )
    return path
