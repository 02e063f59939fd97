"""What a graph may be and ask for: all limits on ONNX files, each with its reason.

Files of ours hold one input, one output or two, no control flow, and no functions but the two of the domain `ce2p`.
Without control flow no graph runs forever, and without nested functions none grows when it is expanded; what is left is
a straight line of operators whose sizes are known beforehand. Peaks and work below are per pixel of the input, since
both grow with it.
"""

from __future__ import annotations

import math

from ..model_files.metadata import MOST_BATCH, ModelMetadata
from .model import FLOAT, FLOAT16, UINT8, OnnxModel, Port
from .survey import survey

_MOST_PIXELS = 1 << 26
"""Of a batch: one item of 8192x8192, or 256 of 512x512, float32 of which take 768 MiB."""
_PEAK_PER_PIXEL = 1024
"""Values alive at once. A ResNet-18's files need 33 (int8: 71). A ResNet-101 at stride 8 has 32 in each of its widest
layers, of which a handful live at once; labels of 256 classes made in the graph are 256 more."""
_PEAK_PER_WEIGHT = 4
"""The same per stored value: 8-bit weights become floats, and half-precision ones are widened."""
_MOST_PEAK = 1 << 33
"""Values alive at once, however large the input: 32 GiB of float32, more than a batch of 64 takes at 512x512."""
_WORK_PER_PIXEL = 1 << 23
"""Multiplications, or values computed. The largest network (ResNet-101, stride 8) needs 1.1 million."""
_WORK_PER_WEIGHT = 256
"""Of what does not grow with the picture: the pooled pyramid multiplies its weights by 50 bins."""
_BASE = 1 << 20
"""Values that any graph may hold or compute."""

_TYPES = {"float32": FLOAT, "float16": FLOAT16, "uint8": UINT8}
_NAMES = {number: name for name, number in _TYPES.items()}


def check_graph(model: OnnxModel, metadata: ModelMetadata) -> None:
    """Refuse a graph that is not what its metadata says, or that asks for what no network of ours needs.

    Raises ValueError with what was found and what was expected.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1 + metadata.edge:
        raise ValueError(
            f"{len(model.inputs)} inputs and {len(model.outputs)} outputs, expected 1 and {1 + metadata.edge}"
        )
    height, width = metadata.input_size
    pixels_in = metadata.input_kind == "uint8"
    _check_port(
        model.inputs[0], "uint8" if pixels_in else metadata.io, [height, width, 3] if pixels_in else [3, height, width]
    )
    batch = model.inputs[0].shape[0]
    if batch is not None and not 1 <= batch <= MOST_BATCH:
        raise ValueError(f"a batch of {batch}, expected 1 to {MOST_BATCH}")
    items = batch or 1
    pixels = items * height * width
    if pixels > _MOST_PIXELS:
        raise ValueError(f"{items} x {height} x {width} pixels, expected at most {_MOST_PIXELS:,} together")
    found = survey(model)
    weights = sum(math.prod(tensor.shape) for tensor in model.stored.values())
    most_values = min(_PEAK_PER_PIXEL * pixels, _MOST_PEAK) + _PEAK_PER_WEIGHT * weights + _BASE
    most_work = _WORK_PER_PIXEL * pixels + _WORK_PER_WEIGHT * weights + _BASE
    for what, needed, limit in (
        ("hold {:,} values at once", found.peak, most_values),
        ("take {:,} operations", found.work, most_work),
    ):
        if needed > limit:
            raise ValueError(
                f"it would {what.format(needed)}, expected at most {limit:,} for {pixels:,} pixels "
                f"and {weights:,} weights"
            )
    _check_outputs(model, metadata, found.outputs, items)


def _check_port(port: Port, dtype: str, shape: list[int]) -> None:
    if port.elem_type != _TYPES[dtype] or list(port.shape[1:]) != shape:
        found = [*("N" if size is None else size for size in port.shape)]
        raise ValueError(
            f"{port.name!r:.80} is {_NAMES.get(port.elem_type, f'type {port.elem_type}')} {found}, its metadata says "
            f"{dtype} {['N', *shape]}"
        )


def _check_outputs(model: OnnxModel, metadata: ModelMetadata, shapes: tuple[tuple[int, ...], ...], items: int) -> None:
    """Types as they are declared, shapes as they come out."""
    height, width = metadata.input_size
    expected: list[tuple[str, tuple[int, ...] | int]] = [(metadata.io, metadata.num_classes)]
    if metadata.output_kind == "labels":
        expected = [("uint8", (items, height, width))]
    if metadata.edge:
        expected.append((metadata.io, 2))
    for port, shape, (dtype, wanted) in zip(model.outputs, shapes, expected, strict=True):
        if isinstance(wanted, int):
            fits = len(shape) == 4 and shape[:2] == (items, wanted)
            fits = fits and 1 <= shape[2] <= height and 1 <= shape[3] <= width
            text = f"[{items}, {wanted}, h, w] with h and w of 1 to {height} and {width}"
        else:
            fits, text = shape == wanted, str(list(wanted))
        if not fits or port.elem_type != _TYPES[dtype]:
            found = _NAMES.get(port.elem_type, f"type {port.elem_type}")
            raise ValueError(f"{port.name!r:.80} is {found} {list(shape)}, its metadata says {dtype} {text}")
