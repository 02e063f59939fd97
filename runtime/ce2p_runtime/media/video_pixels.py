"""From a decoded frame to upright BGR pixels in the colours that the video means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError

_UNTAGGED_MATRIX = 2  # of ITU-T H.273, as all numbers here
_TRANSFERS = {16: "PQ", 18: "HLG"}
_BT2020 = 9
_HD_HEIGHT = 720


class FramePixels:
    """Turns the frames of one video into arrays; what is special about them stands in `notes` after the first.

    The matrix and the range of the stream's own tags are used. Without a tag, BT.709 for frames of at least 720 rows
    and BT.601 for smaller ones, as players do. Brightness is not mapped: PQ and HLG look flat.
    """

    def __init__(self, av: Any, path: Path, *, labels: bool) -> None:
        self.notes: list[str] = []
        self._path, self._labels = path, labels
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._bt709 = av.video.reformatter.Colorspace.ITU709
        self._matrix: tuple[int, int, int, int] | None = None

    def begin(self, frame: Any) -> None:
        """Look at the first frame, to which the others are alike."""
        # Of the first frame only: the matrix belongs to the file, and looking at a frame's side data makes PyAV
        # hold the frame in a reference cycle, so that memory fills up with pictures until the collector runs.
        self._matrix = _display_matrix(frame)
        if self._labels:
            return
        if frame.interlaced_frame:
            self.notes.append("interlaced: both fields of a frame are parsed together, so moving edges may look ragged")
        transfer, primaries = int(frame.color_trc), int(frame.color_primaries)
        if transfer in _TRANSFERS or primaries == _BT2020:
            kind = " ".join(
                name for name in (_TRANSFERS.get(transfer, ""), "BT.2020" if primaries == _BT2020 else "") if name
            )
            self.notes.append(f"{kind} colours are not mapped to BT.709: pictures look flatter than in a player")
        if self._is_untagged_hd(frame):
            self.notes.append("no colour matrix is named: BT.709 is assumed, as is common at this size")

    @property
    def turned(self) -> bool:
        """Whether rows become columns."""
        return self._matrix is not None and abs(self._matrix[1]) > abs(self._matrix[0])

    def array(self, frame: Any) -> NDArray[np.uint8]:
        """uint8 BGR [H, W, 3], upright; of labels the stored values, uint8 [H, W]."""
        if self._labels:
            if frame.format.name not in ("gray", "gray8"):
                raise MediaError(f"{self._path}: pixels are {frame.format.name}, expected gray of a label video")
            return np.asarray(frame.to_ndarray(), np.uint8)
        source = self._bt709 if self._is_untagged_hd(frame) else None
        # One converter for all frames: setting one up takes as long as converting a small frame.
        image = self._reformatter.reformat(frame, format="bgr24", src_colorspace=source, threads=1).to_ndarray()
        return _upright(np.asarray(image, np.uint8), self._matrix)

    def _is_untagged_hd(self, frame: Any) -> bool:
        coloured = len(frame.format.components) >= 3 and not frame.format.is_rgb
        return coloured and int(frame.colorspace) == _UNTAGGED_MATRIX and frame.height >= _HD_HEIGHT


def _display_matrix(frame: Any) -> tuple[int, int, int, int] | None:
    """(a, b, c, d) of the display matrix, where x' = a x + c y and y' = b x + d y; None without one."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return None
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
    return a, b, c, d


def _upright(image: NDArray[np.uint8], matrix: tuple[int, int, int, int] | None) -> NDArray[np.uint8]:
    """Turn and mirror an image as its display matrix says, to the nearest quarter turn."""
    if matrix is None:
        return image
    a, b, c, d = matrix
    if abs(b) > abs(a):
        image, a, d = np.asarray(cv2.transpose(image), np.uint8), c, b
    if a < 0 or d < 0:
        image = np.asarray(cv2.flip(image, -1 if a < 0 and d < 0 else 1 if a < 0 else 0), np.uint8)
    return image
