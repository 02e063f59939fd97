"""From a deploy network to an ONNX model in memory: torch's exporter, readable names, precision, our fused ops.

`trace_graph` gives the pure graph, float32 and made of standard ops; `precision.convert` changes its precision;
`finish_graph` puts in what the precision passes must not see.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from ce2p.families import Preprocessing
from ce2p.models import CE2P
from ce2p_runtime.model_files.metadata import InputKind, IoType, OutputKind
from ce2p_runtime.precisions import PRECISIONS, PrecisionName

from .fusions import FusionResult, append_label_map, insert_edge_fusion
from .fusions.ce2p_ops import OPSET
from .precision.converters import PrecisionPlan, convert
from .precision.half import give_float_io


@dataclass(frozen=True)
class GraphOptions:
    """What goes in and what comes out of an exported graph."""

    size: tuple[int, int]
    """(height, width), static."""
    batch: int | None = 1
    """Static batch size, or None for a dynamic one."""
    input_kind: InputKind = "float"
    output_kind: OutputKind = "logits"
    edge: bool = False
    precision: PrecisionName = "fp32"
    """Of weights and activations inside."""
    io: IoType = "float32"
    """Type of a float input and of logits; float16 only where the inside is, too."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one batch; a dynamic batch is shown as 2."""
        batch = self.batch or 2
        return (batch, *self.size, 3) if self.input_kind == "uint8" else (batch, 3, *self.size)


class _Graph(nn.Module):
    """What torch's exporter traces: optional pixel normalisation, the network, the outputs asked for."""

    # Not "mean": the exporter calls the output of a ReduceMean so, and a name may be given once.
    pixel_mean: Tensor
    pixel_std: Tensor
    pixel_scale: Tensor

    def __init__(self, net: CE2P, preprocessing: Preprocessing, options: GraphOptions) -> None:
        super().__init__()
        self.net = net
        self.options = options
        how = preprocessing.normalisation
        self.rgb = how.colour_order == "rgb"
        self.register_buffer("pixel_mean", torch.tensor(how.mean, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(how.std, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("pixel_scale", torch.tensor(how.scale, dtype=torch.float32))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        if self.options.input_kind == "uint8":
            pixels = image.float().permute(0, 3, 1, 2)  # TensorRT does nothing with uint8 before it is cast
            if self.rgb:
                pixels = pixels.flip(1)
            image = (pixels * self.pixel_scale - self.pixel_mean) / self.pixel_std
        outputs = self.net(image)
        if self.options.edge:
            assert outputs.edge is not None  # noqa: S101  (GraphOptions.edge goes with deploy(keep_edge=True))
            return outputs.parsing, outputs.edge
        return (outputs.parsing,)


def build_graph(
    net: CE2P, preprocessing: Preprocessing, options: GraphOptions, *, fused_ops: bool = True
) -> tuple[ir.Model, FusionResult]:
    """Trace `net` (deployed or not), convert and finish the graph. Raises CE2PError as `convert` does.

    Input `pixels` (uint8 [N, H, W, 3] BGR) or `image` (float32 [N, 3, H, W], normalised); outputs `parsing`
    (float32 [N, C, H/4, W/4]) or `labels` (uint8 [N, H, W]), and `edge` (float32 [N, 2, H/4, W/4]) where asked for;
    float16 instead of float32 by `options.io`.
    """
    pure = ir.to_proto(trace_graph(net, preprocessing, options)).SerializeToString()
    model = convert(pure, options.precision, PrecisionPlan())
    return model, finish_graph(model, options, net.config.align_corners, fused_ops=fused_ops)


def trace_graph(net: CE2P, preprocessing: Preprocessing, options: GraphOptions) -> ir.Model:
    """The pure graph of `net`: float32, standard ops, weights named as their modules; ends in logits."""
    dtype = torch.uint8 if options.input_kind == "uint8" else torch.float32
    name = "pixels" if options.input_kind == "uint8" else "image"
    names = ["parsing", "edge"] if options.edge else ["parsing"]
    batch = None if options.batch else torch.export.Dim("batch", min=1, max=1024)
    example = torch.zeros(options.input_shape, dtype=dtype)
    traced = _Graph(net, preprocessing, options).eval()
    model = _trace(traced, example, name, names, {0: batch} if batch else None)
    for initializer in list(model.graph.initializers.values()):
        initializer.name = (initializer.name or "").removeprefix("net.")
    model.producer_name = "ce2p"
    return model


def finish_graph(
    model: ir.Model, options: GraphOptions, align_corners: bool, *, fused_ops: bool = True
) -> FusionResult:
    """Put our fused ops into a converted graph and settle the types of its inputs and outputs, in place."""
    fusion = FusionResult(0, "not asked for")
    in_bfloat16 = PRECISIONS[options.precision].half == "bfloat16"
    if fused_ops and in_bfloat16:
        fusion = FusionResult(0, "it has no bfloat16 kernel")
    elif fused_ops:
        fusion = insert_edge_fusion(model, "parsing", align_corners)
    if in_bfloat16:
        give_float_io(model)  # labels are made of float or float16 logits
    if options.output_kind == "labels":
        append_label_map(model, "parsing", options.size, align_corners)
    give_float_io(model, inputs=options.io == "float32")
    return fusion


def export_plain(net: CE2P, path: Path, size: tuple[int, int], batch: int = 1) -> Path:
    """The three-line script most people write: `torch.onnx.export` of the trained network, all outputs, nothing folded.

    It is the rival in every benchmark. Float32 [batch, 3, H, W] in; parsing, stage1 and edge logits out.
    """
    model = _trace(net.eval(), torch.zeros(batch, 3, *size), "image", ["parsing", "stage1", "edge"], None)
    ir.save(model, path)
    return path


def _trace(
    module: nn.Module, example: Tensor, name: str, outputs: list[str], dynamic: dict[int, Any] | None
) -> ir.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals; the proof judges its result
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[name],
            output_names=outputs,
            dynamic_shapes=(dynamic,) if dynamic else None,
            verbose=False,
        )
    assert program is not None  # noqa: S101  (only with f=... does the exporter return nothing)
    for node in program.model.graph:  # names the folders of this machine, and is long
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    return program.model
