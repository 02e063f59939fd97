"""What the ceilings of this CPU are measured with: matrix products, convolutions, copies, in every library at hand.

Square matrices, and convolutions of the shapes that CE2P networks are made of, so that no layer of a network has a
faster kernel than the ceiling was measured with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.ceilings import PeakSource
from benchmarks.rival_runtimes import onnxruntime_session, openvino_model
from benchmarks.workload import Arithmetic

COPY_BYTES = 512 * 2**20
"""Of the copied array: many times any last-level cache."""
_OPSET = 21
_Prepared: TypeAlias = Callable[..., Callable[[], object]]


@dataclass(frozen=True)
class Chain:
    """Convolutions one after the other: (channels in, channels out, kernel side), on a square map of `side` pixels."""

    convs: tuple[tuple[int, int, int], ...]
    side: int

    @property
    def flops(self) -> int:
        return sum(2 * self.side**2 * i * o * k * k for i, o, k in self.convs)

    def __str__(self) -> str:
        i, o, k = self.convs[0]
        return f"{len(self.convs)} conv {k}x{k} {i}-{o} on {self.side}x{self.side}"


SQUARES = (1024, 2048, 3072)
CHAINS = (
    Chain(((1024, 1024, 1),) * 4, 30),
    Chain(((512, 512, 3),) * 2, 30),
    Chain(((512, 512, 3),) * 2, 60),
    Chain(((256, 256, 3),) * 4, 30),
    Chain(((2048, 512, 1), (512, 2048, 1)) * 2, 30),
    Chain(((256, 256, 1),) * 4, 119),
)
"""Several in a row, so that what a graph does to its input and output counts little."""


def sources(
    threads: int | None = None,
    squares: Sequence[int] = SQUARES,
    chains: Sequence[Chain] = CHAINS,
    copied: int = COPY_BYTES,
) -> Iterator[PeakSource]:
    """Everything to measure. `threads` None: each library's own choice, one per core."""
    for side in squares:
        for resource, library, make in _products(side, threads):
            yield PeakSource(resource, library, f"{side} cubed", 2 * side**3, make)
    ways: tuple[tuple[Arithmetic, str, _Prepared], ...] = (
        ("fp32", "ONNX Runtime", _in_onnxruntime),
        ("int8", "ONNX Runtime", _in_onnxruntime),
        ("fp32", "OpenVINO", _in_openvino),
        ("bf16", "OpenVINO", _in_openvino),
        ("int8", "OpenVINO", _in_openvino),
    )
    for chain, (arithmetic, library, prepare) in product(chains, ways):
        yield PeakSource(arithmetic, library, str(chain), chain.flops, partial(prepare, chain, arithmetic, threads))
    shape = f"copy of {copied >> 20} MiB"
    yield PeakSource("copy", "NumPy", shape, 2 * copied, partial(_numpy_copy, copied))
    yield PeakSource("copy", "PyTorch", shape, 2 * copied, partial(_torch_copy, copied, threads))


def _products(side: int, threads: int | None) -> list[tuple[Arithmetic, str, _Prepared]]:
    """Of square matrices."""
    return [
        ("fp32", "NumPy", partial(_numpy_product, side)),
        ("fp32", "PyTorch mm", partial(_torch_product, side, "float32", threads)),
        ("bf16", "PyTorch mm", partial(_torch_product, side, "bfloat16", threads)),
        ("int8", "PyTorch _int_mm int8 x int8", partial(_torch_integer_product, side, "int8", threads)),
        ("int8", "PyTorch _int_mm uint8 x int8", partial(_torch_integer_product, side, "uint8", threads)),
        ("fp32", "ONNX Runtime MatMul", partial(_matmul_in_onnxruntime, side, "fp32", threads)),
        ("int8", "ONNX Runtime MatMulInteger", partial(_matmul_in_onnxruntime, side, "int8", threads)),
    ]


def _numpy_product(side: int) -> Callable[[], object]:
    a, b = _floats(side, side), _floats(side, side)
    out = np.empty((side, side), np.float32)
    return lambda: np.matmul(a, b, out=out)


def _torch_product(side: int, kind: str, threads: int | None) -> Callable[[], object]:
    import torch

    _torch_threads(threads)
    dtype = getattr(torch, kind)
    a, b = (torch.from_numpy(_floats(side, side)).to(dtype) for _ in range(2))
    out = torch.empty(side, side, dtype=dtype)
    return lambda: torch.mm(a, b, out=out)


def _torch_integer_product(side: int, kind: str, threads: int | None) -> Callable[[], object]:
    import torch

    _torch_threads(threads)
    a, b = torch.from_numpy(_integers(kind, side, side)), torch.from_numpy(_integers("int8", side, side))
    found = torch._int_mm(a, b)[:4]
    if not torch.equal(found, a[:4].int() @ b.int()):
        raise ArithmeticError(f"torch._int_mm of {kind} and int8 gives wrong sums")
    return lambda: torch._int_mm(a, b)


def _numpy_copy(size: int) -> Callable[[], object]:
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    return lambda: np.copyto(target, source)


def _torch_copy(size: int, threads: int | None) -> Callable[[], object]:
    import torch

    _torch_threads(threads)
    source, target = torch.ones(size // 4), torch.zeros(size // 4)
    return lambda: target.copy_(source)


def _torch_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _in_onnxruntime(chain: Chain, arithmetic: Arithmetic, threads: int | None) -> Callable[[], object]:
    session = onnxruntime_session(_chain_file(chain, arithmetic), threads)
    feed = {"x": _chain_input(chain, arithmetic)}
    return lambda: session.run(None, feed)


def _in_openvino(chain: Chain, arithmetic: Arithmetic, threads: int | None) -> Callable[[], object]:
    compiled, _ = openvino_model(_chain_file(chain, arithmetic), threads, "bf16" if arithmetic == "bf16" else "f32")
    request, values = compiled.create_infer_request(), _chain_input(chain, arithmetic)
    return lambda: request.infer([values], share_inputs=True)


def _chain_file(chain: Chain, arithmetic: Arithmetic) -> bytes:
    return conv_chain(chain, quantised=arithmetic == "int8").SerializeToString()


def _matmul_in_onnxruntime(side: int, arithmetic: Arithmetic, threads: int | None) -> Callable[[], object]:
    quantised = arithmetic == "int8"
    kinds = (TensorProto.UINT8, TensorProto.INT32) if quantised else (TensorProto.FLOAT, TensorProto.FLOAT)
    weight = _integers("int8", side, side) if quantised else _floats(side, side)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger" if quantised else "MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", kinds[0], [side, side])],
        [helper.make_tensor_value_info("y", kinds[1], [side, side])],
        [numpy_helper.from_array(weight, "w")],
    )
    feed = _integers("uint8", side, side) if quantised else _floats(side, side)
    session = onnxruntime_session(_model(graph).SerializeToString(), threads)
    return lambda: session.run(None, {"x": feed})


def conv_chain(chain: Chain, *, quantised: bool) -> onnx.ModelProto:
    """The chain as ONNX, x to y: float32, or uint8 with QuantizeLinear and DequantizeLinear around every product."""
    kind = TensorProto.UINT8 if quantised else TensorProto.FLOAT
    scales = {"scale": np.float32(0.02), "zero": np.uint8(128), "weight_scale": np.float32(0.002), "none": np.int8(0)}
    initializers = [numpy_helper.from_array(number, name) for name, number in scales.items() if quantised]
    nodes, value = [], "x"
    for index, (channels, out, kernel) in enumerate(chain.convs):
        weight, last = f"w{index}", index == len(chain.convs) - 1
        shape = (out, channels, kernel, kernel)
        scale = np.float32((channels * kernel * kernel) ** -0.5)
        values = _integers("int8", *shape) if quantised else _floats(*shape) * scale
        initializers.append(numpy_helper.from_array(values, weight))
        result = "y" if last else f"v{index}"
        pads = [kernel // 2] * 4
        if not quantised:
            nodes.append(helper.make_node("Conv", [value, weight], [result], pads=pads))
        else:
            nodes += [
                helper.make_node("DequantizeLinear", [value, "scale", "zero"], [f"x{index}"]),
                helper.make_node("DequantizeLinear", [weight, "weight_scale", "none"], [f"dw{index}"]),
                helper.make_node("Conv", [f"x{index}", f"dw{index}"], [f"c{index}"], pads=pads),
                helper.make_node("QuantizeLinear", [f"c{index}", "scale", "zero"], [result]),
            ]
        value = result
    ends = [
        helper.make_tensor_value_info(name, kind, [1, count, chain.side, chain.side])
        for name, count in (("x", chain.convs[0][0]), ("y", chain.convs[-1][1]))
    ]
    return _model(helper.make_graph(nodes, "chain", ends[:1], ends[1:], initializers))


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 10
    return model


def _chain_input(chain: Chain, arithmetic: Arithmetic) -> NDArray[Any]:
    shape = (1, chain.convs[0][0], chain.side, chain.side)
    return _integers("uint8", *shape) if arithmetic == "int8" else _floats(*shape)


def _floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _integers(kind: str, *shape: int) -> NDArray[Any]:
    dtype = np.dtype(kind)
    limits = np.iinfo(dtype)
    return np.random.default_rng(0).integers(limits.min, limits.max, shape, dtype, endpoint=True)
