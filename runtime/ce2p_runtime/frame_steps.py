"""What is done to a frame before and after the network: one decision per step, for the CPU and for the GPU.

Which steps a network needs follows from its metadata and the frame's mapping alone. The CPU functions compute; the GPU
functions return the kernels to launch, which mean the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModelFileError, UndecidedError
from .geometry import FrameMapping, frame_mapping
from .model_files.metadata import ModelMetadata
from .ops import crop, label_map, warp_labels, warp_normalize
from .ops.label_map import label_nearest_launch, label_resize_launch, label_warp_launch
from .ops.launches import ArrayAt, Launch
from .ops.warp_normalize import crop_launch, warp_normalize_launch


def check_frame(frame: object) -> None:
    """Raises ValueError for anything but a uint8 array [H, W, 3] with pixels in it."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        found = f"{frame.dtype} {list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ValueError(f"a frame is {found}, expected a uint8 BGR array [H, W, 3]")
    if 0 in frame.shape:
        raise ValueError(f"a frame is {list(frame.shape)}, expected at least one pixel")


def prepare_batch(
    metadata: ModelMetadata, frames: Sequence[NDArray[np.uint8]], mappings: Sequence[FrameMapping], count: int
) -> NDArray[Any]:
    """The network's input (see Backend.run) for `count` items made of at most as many frames; the rest are zeros."""
    height, width = metadata.input_size
    if metadata.input_kind == "uint8":
        pixels = np.zeros((count, height, width, 3), np.uint8)
        for item, frame, mapping in zip(pixels, frames, mappings, strict=False):
            crop(frame, mapping.forward, mapping.input_size, out=item)
        return pixels
    images = np.zeros((count, 3, height, width), np.float32)
    for image, frame, mapping in zip(images, frames, mappings, strict=False):
        warp_normalize(frame, mapping.forward, mapping.input_size, metadata.normalisation, out=image)
    return images.astype(metadata.io, copy=False)


def network_input(metadata: ModelMetadata, frames: Sequence[NDArray[np.uint8]]) -> NDArray[Any]:
    """The network's input (see Backend.run) for whole frames, uint8 BGR [H, W, 3] of any sizes: one item for each."""
    mappings = [frame_mapping(metadata.geometry, frame.shape[:2], metadata.input_size) for frame in frames]
    return prepare_batch(metadata, frames, mappings, len(frames))


def prepare_launch(
    metadata: ModelMetadata, mapping: FrameMapping, frames: int, out: int, *, pitch: int, items: int
) -> Launch:
    """`prepare_batch` on the GPU, for `items` frames of one size that lie one after the other at address `frames`."""
    source = ArrayAt(frames, (items, *mapping.frame_size, 3))
    if metadata.input_kind == "uint8":
        return crop_launch(source, pitch, mapping.forward, ArrayAt(out, (items, *mapping.input_size, 3)))
    target = ArrayAt(out, (items, 3, *mapping.input_size))
    return warp_normalize_launch(source, pitch, mapping.forward, metadata.normalisation, target)


def check_output(metadata: ModelMetadata, output: NDArray[Any], count: int, name: str) -> None:
    """Refuse a first output of the network called `name` that cannot become the labels of `count` frames.

    Raises ModelFileError for another type or shape than the metadata says, UndecidedError for logits that are not
    finite: none of them is the best, and what would come out is some class. (On a GPU nobody looks: there a comparison
    with NaN is false, so class 0 wins where its own logit is NaN, and other classes never win with one.)
    """
    height, width = metadata.input_size
    if metadata.output_kind == "labels":
        fits, expected = output.shape == (count, height, width), f"uint8 {[count, height, width]}"
        fits = fits and output.dtype == np.uint8
    else:
        fits = output.ndim == 4 and output.shape[:2] == (count, metadata.num_classes) and 0 not in output.shape
        fits, expected = fits and output.dtype.kind == "f", f"{metadata.io} [{count}, {metadata.num_classes}, h, w]"
    if not fits:
        raise ModelFileError(
            f"{name}: its output is {output.dtype} {list(output.shape)}, expected {expected} by its metadata; "
            "export it again"
        )
    if output.dtype.kind == "f" and not np.isfinite(output).all():
        raise UndecidedError(
            f"{name}: its logits are not finite (NaN or infinite), so they decide no class; its weights are damaged or "
            f"leave the range of {metadata.precision}: export it again, in fp32"
        )


def labels_of(metadata: ModelMetadata, output: NDArray[Any], mapping: FrameMapping) -> NDArray[np.uint8]:
    """Labels uint8 [H, W] of a frame from one item of the network's first output, which `check_output` has seen."""
    if metadata.output_kind == "labels":
        return warp_labels(output, mapping.unwarp, mapping.frame_size)
    return label_map(
        output,
        mapping.unwarp,
        mapping.input_size,
        mapping.frame_size,
        align_corners=metadata.align_corners,
        unwarp=metadata.geometry.unwarp,
    )


def label_launches(
    metadata: ModelMetadata, mapping: FrameMapping, output: ArrayAt, input_labels: int, labels: int
) -> list[Launch]:
    """`labels_of` on the GPU, for frames of one size: outputs [N, ...] to labels uint8 [N, H, W] at an address.

    `input_labels`: room for uint8 [N, S_h, S_w] where `needs_input_labels`.
    """
    items, matrix = output.shape[0], mapping.unwarp
    target = ArrayAt(labels, (items, *mapping.frame_size))
    if metadata.output_kind == "labels":
        return [label_nearest_launch(output, matrix, target)]
    if not needs_input_labels(metadata):
        return [label_resize_launch(output, target)]
    inner = ArrayAt(input_labels, (items, *mapping.input_size))
    first = label_resize_launch(output, inner)
    if metadata.geometry.unwarp == "labels":
        return [first, label_nearest_launch(inner, matrix, target)]
    if matrix is None:
        raise ValueError("logits are warped by a matrix, but this frame's mapping has none")
    return [first, label_warp_launch(output, inner, matrix, target)]


def needs_input_labels(metadata: ModelMetadata) -> bool:
    """Whether the labels at input size are a step of their own on the way to a frame's."""
    if metadata.output_kind == "labels":
        return False
    return metadata.geometry.unwarp == "labels" or metadata.geometry.kind == "affine"
