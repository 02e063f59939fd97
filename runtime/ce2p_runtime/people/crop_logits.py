"""One network's logits of a frame or of a part of it, at the frame's size, as many rows at a time as are wanted.

From 1/4 resolution to the S×S input (bilinear, in the network's own `align_corners`), then to the box:

    plain resize (M-CE2P, sssegmentation)  bilinear with half-pixel centres, as cv2.resize (predict_sub_image in
                                           M-CE2P-test.py)
    affine (CE2P, SCHP)                    bilinear at the matrix's coordinates, 0 outside (SCHP's transform_logits)

Logits always return this way, also where a family's single-person scores warp labels. Rows are exact: any window has
the values of the whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..geometry import FrameMapping
from ..model_files.metadata import ModelMetadata
from ..ops.bilinear import AxisTaps, affine_taps, blend, resize_taps, settle_matrix
from .instances import Box

Floats = NDArray[np.float32]


class CropLogits:
    """Logits float32 [C, h, w] of the part `box` of a frame.

    What is held is the network's output, 1.1 MB for 20 classes at 473x473; at the input's size it would be 18 MB, and a
    frame may have 255 people.
    """

    def __init__(self, logits: Floats, metadata: ModelMetadata, mapping: FrameMapping, box: Box) -> None:
        """`mapping` is that of the crop, of `box`'s size. Raises ValueError for logits of another shape."""
        x0, y0, x1, y1 = box
        if logits.ndim != 3 or mapping.frame_size != (y1 - y0, x1 - x0):
            raise ValueError(f"logits {list(logits.shape)} with a mapping of {mapping.frame_size} for the box {box}")
        self.box = box
        self.classes = len(logits)
        self._logits = np.array(logits, np.float32)  # a copy: a backend may write over its output
        self._height = mapping.input_size[0]
        self._input_rows = resize_taps(logits.shape[1], mapping.input_size[0], metadata.align_corners)
        self._input_columns = resize_taps(logits.shape[2], mapping.input_size[1], metadata.align_corners)
        self._ring = 0 if mapping.unwarp is None else 1
        """Zeros around the input, which affine taps count."""
        if mapping.unwarp is None:
            self._rows = resize_taps(mapping.input_size[0], y1 - y0, False)
            self._columns = resize_taps(mapping.input_size[1], x1 - x0, False)
        else:
            self._rows, self._columns = _warp_taps(mapping.unwarp, mapping)

    def rows(self, top: int, bottom: int) -> Floats:
        """Logits float32 [C, bottom - top, x1 - x0] of the frame's rows top..bottom - 1, which are all in the box."""
        _, y0, _, y1 = self.box
        if not y0 <= top < bottom <= y1:
            raise ValueError(f"rows {top}..{bottom} are not within the box {self.box}")
        rows, columns = self._rows.part(top - y0, bottom - y0), self._columns
        first, last = int(rows.low.min()), int(rows.high.max())
        source = self._at_input(first, last + 1)
        across = blend(source[:, :, columns.low], source[:, :, columns.high], columns.weight)
        return blend(across[:, rows.low - first], across[:, rows.high - first], rows.weight[:, np.newaxis])

    def _at_input(self, first: int, stop: int) -> Floats:
        """Rows first..stop - 1 of the logits at the input's size, the ring of zeros included."""
        inner = max(first - self._ring, 0), min(stop - self._ring, self._height)
        if inner[0] >= inner[1]:  # nothing but the ring
            width = len(self._input_columns.low) + 2 * self._ring
            return np.zeros((self.classes, stop - first, width), np.float32)
        rows, columns = self._input_rows.part(*inner), self._input_columns
        low, high = int(rows.low.min()), int(rows.high.max())
        source = self._logits[:, low : high + 1]
        across = blend(source[:, :, columns.low], source[:, :, columns.high], columns.weight)
        values = blend(across[:, rows.low - low], across[:, rows.high - low], rows.weight[:, np.newaxis])
        if not self._ring:
            return values
        above, below = inner[0] + self._ring - first, stop - self._ring - inner[1]
        return np.pad(values, ((0, 0), (above, below), (self._ring, self._ring)))

    def whole(self) -> Floats:
        """Logits float32 [C, y1 - y0, x1 - x0] of the whole box."""
        return self.rows(self.box[1], self.box[3])


def _warp_taps(matrix: NDArray[np.float64], mapping: FrameMapping) -> tuple[AxisTaps, AxisTaps]:
    """Taps of rows and columns under a matrix without rotation and shear, as every whole-crop mapping has."""
    settled = settle_matrix(matrix, mapping.frame_size)
    if settled[0, 1] or settled[1, 0]:
        raise ValueError(f"the crop's matrix rotates or shears: {settled.tolist()}")
    y = np.arange(mapping.frame_size[0], dtype=np.float64) * settled[1, 1] + settled[1, 2]
    x = np.arange(mapping.frame_size[1], dtype=np.float64) * settled[0, 0] + settled[0, 2]
    return affine_taps(y, 0, mapping.input_size[0] - 1), affine_taps(x, 0, mapping.input_size[1] - 1)
