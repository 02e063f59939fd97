"""Test-time averaging: a network's logits averaged with those of the mirrored picture and of other sizes.

As SCHP's evaluate.py (`multi_scale_testing`) does it, with A the network, M mirroring of the width and P the exchange
of left and right classes:

    flip      A'(x) = (A(x) + P M A(M x)) / 2, of logits (not probabilities), at the network's own 1/4 resolution
    scales    mean over s of up(A'(resize(x, s))), at the input's size; resize and up are bilinear with the network's
              own convention of align_corners, and a side S becomes floor(S s)

The pairs are the data set's own, from the metadata: the public code exchanges channels 14 to 19 whatever the data set,
which on ATR would mix up bags and scarves.

Mirroring happens after the crop, as published. For plain resize and for SCHP's geometry that equals cropping the
mirrored picture, because both have the frame's middle in the middle of the input, (S - 1)/2. CE2P's geometry has it at
S/2, so the mirrored crop shows the picture one input pixel further left than a crop of the mirrored picture would; the
logits still return to exactly the pixels that they are about.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError
from ..ops.bilinear import bilinear_resize
from .base import Backend


class AveragedBackend(Backend):
    """A backend around another one, with the same inputs, whose logits are averages.

    With `flip` it takes twice the time, with several `scales` as much longer. Frames travel through host memory.
    Its first output is float32 [N, C, h, w]: 1/4 of the input's size, or with other scales than 1 the input's size;
    there is no edge output. `batch` fixes the batch size where the backend's is dynamic: engines are built for certain
    sizes, and a parser fills its last group up to a fixed one. Raises BackendError for what cannot be averaged, and as
    the backend inside does.
    """

    def __init__(
        self, backend: Backend, *, flip: bool = True, scales: Sequence[float] = (1.0,), batch: int | None = None
    ) -> None:
        metadata = backend.metadata
        if metadata.output_kind != "logits":
            raise BackendError(
                "flipping and scales average logits, this model puts out labels; export it with --output logits"
            )
        if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
            raise BackendError(f"scales are {list(scales)}, expected at least one number above 0, e.g. 0.75,1,1.25")
        self._scales = tuple(float(scale) for scale in scales)
        if self._scales != (1.0,) and not backend.any_size:
            height, width = metadata.input_size
            raise BackendError(
                f"{backend.name} takes {height}x{width} inputs only, scales {_listed(self._scales)} want other sizes; "
                "score the checkpoint with --scales, or export one file per size and score each"
            )
        self._backend, self._flip = backend, flip
        self.metadata = dataclasses.replace(metadata, edge=False)
        self.batch = backend.batch or batch
        self.choice = backend.choice
        self.device = backend.device
        self.name = f"{backend.name}, averaged over {_description(flip, self._scales)}"
        order = list(range(metadata.num_classes))
        for left, right in metadata.flip_pairs:
            order[left], order[right] = right, left
        self._exchanged = order

    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """See Backend.run."""
        if self._scales == (1.0,):
            return [self._flipped(batch)]
        height, width = self.metadata.input_size
        total: NDArray[np.float32] | None = None
        for scale in self._scales:
            size = (math.floor(height * scale), math.floor(width * scale))
            logits = self._flipped(self._resized(batch, size))
            logits = bilinear_resize(logits, (height, width), self.metadata.align_corners)
            total = logits if total is None else total + logits
        assert total is not None  # noqa: S101  (there is at least one scale)
        return [total / np.float32(len(self._scales))]

    def close(self) -> None:
        """Close the backend inside."""
        self._backend.close()

    def _flipped(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Logits of a batch, averaged with those of the mirrored one where that was asked for."""
        logits = self._logits(batch)
        if not self._flip:
            return logits
        width_axis = 2 if self.metadata.input_kind == "uint8" else 3
        mirrored = np.ascontiguousarray(np.flip(batch, width_axis))
        other = self._logits(mirrored)
        return (logits + other[:, self._exchanged, :, ::-1]) * np.float32(0.5)

    def _logits(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        return self._backend.run(batch)[0].astype(np.float32, copy=False)

    def _resized(self, batch: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
        """A batch at another size; uint8 pixels are rounded, which the published code, scaling floats, does not."""
        align_corners = self.metadata.align_corners
        if self.metadata.input_kind == "float":
            resized = bilinear_resize(batch.astype(np.float32, copy=False), size, align_corners)
            return np.ascontiguousarray(resized.astype(batch.dtype, copy=False))
        planes = np.moveaxis(batch, 3, 1).astype(np.float32)
        pixels = np.rint(bilinear_resize(planes, size, align_corners)).astype(np.uint8)
        return np.ascontiguousarray(np.moveaxis(pixels, 1, 3))


def _description(flip: bool, scales: tuple[float, ...]) -> str:
    parts = ["the mirrored picture"] if flip else []
    if scales != (1.0,):
        parts.append(f"scales {_listed(scales)}")
    return " and ".join(parts) or "nothing"


def _listed(scales: Sequence[float]) -> str:
    return ", ".join(f"{scale:g}" for scale in scales)
