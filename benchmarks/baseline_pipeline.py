"""The baseline from a frame to a label map: SCHP's simple_extractor.py, step by step, around any network.

Warp with OpenCV, normalise in NumPy, forward pass, upsample to the input's size in PyTorch, warp every class back with
OpenCV, stack, argmax, palette PNG with Pillow. Geometry and constants are those of the network's family.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ce2p_runtime.geometry import FrameMapping, frame_mapping
from ce2p_runtime.model_files.metadata import ModelMetadata

Labels = NDArray[np.uint8]
Network = Callable[[NDArray[np.float32]], Any]
"""Normalised float32 [1, 3, H, W] to parsing logits [1, C, h, w], as NumPy array or torch tensor on any device."""


@dataclass(frozen=True)
class BaselinePipeline:
    """uint8 BGR [H, W, 3] in, labels uint8 [H, W] out. `metadata` gives geometry and constants.

    Only for networks whose extractor warps logits back by an affine matrix, as SCHP's; raises ValueError for others.
    """

    network: Network
    metadata: ModelMetadata

    def __post_init__(self) -> None:
        geometry = self.metadata.geometry
        if (geometry.kind, geometry.unwarp, self.metadata.output_kind) != ("affine", "logits", "logits"):
            raise ValueError(
                f"the baseline pipeline is that of SCHP's extractor (affine geometry, logits warped back), the network "
                f"is {self.metadata.family} ({geometry.kind}, {geometry.unwarp} warped back)"
            )

    def __call__(self, frame: NDArray[np.uint8]) -> Labels:
        """Labels of a frame."""
        return self.timed(frame)[0]

    def timed(self, frame: NDArray[np.uint8]) -> tuple[Labels, dict[str, float]]:
        """Labels, and milliseconds of the stages prepare, network and labels."""
        size = self.metadata.input_size
        mapping = frame_mapping(self.metadata.geometry, frame.shape[:2], size)
        moments = [time.perf_counter_ns()]
        image = self._prepared(frame, mapping)
        moments.append(time.perf_counter_ns())
        with torch.inference_mode():
            logits = torch.as_tensor(self.network(image))
            moments.append(time.perf_counter_ns())
            full = F.interpolate(logits, size, mode="bilinear", align_corners=self.metadata.align_corners)
            classes = full[0].permute(1, 2, 0).cpu().numpy()
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        height, width = frame.shape[:2]
        back = [
            cv2.warpAffine(np.ascontiguousarray(classes[:, :, c]), mapping.unwarp, (width, height), flags=flags)
            for c in range(classes.shape[2])
        ]
        labels = np.asarray(np.argmax(np.stack(back, axis=2), axis=2), np.uint8)
        moments.append(time.perf_counter_ns())
        stages = zip(("prepare", "network", "labels"), moments, moments[1:], strict=False)
        return labels, {stage: (stop - start) / 1e6 for stage, start, stop in stages}

    def _prepared(self, frame: NDArray[np.uint8], mapping: FrameMapping) -> NDArray[np.float32]:
        """The network's input float32 [1, 3, S_h, S_w]."""
        pixels = self.metadata.normalisation
        mean, std = (np.array(values, np.float32) for values in (pixels.mean, pixels.std))
        warped = cv2.warpAffine(frame, mapping.forward, mapping.input_size[::-1], flags=cv2.INTER_LINEAR)
        ordered = warped[:, :, ::-1] if pixels.colour_order == "rgb" else warped
        image = (ordered.astype(np.float32) * np.float32(pixels.scale) - mean) / std
        return np.ascontiguousarray(image.transpose(2, 0, 1))[None]


def write_baseline_png(path: Path, labels: Labels, palette: Sequence[tuple[int, int, int]]) -> None:
    """As the extractors write it: a palette picture by Pillow."""
    from PIL import Image

    picture = Image.fromarray(labels)
    picture.putpalette([value for colour in palette for value in colour])
    picture.save(path)
