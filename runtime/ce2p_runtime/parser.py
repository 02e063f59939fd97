"""HumanParser: frames in, label maps at the frames' own size out, with nothing but a model file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends import Backend, open_backend
from .geometry import FrameMapping, frame_mapping
from .metadata import ModelMetadata
from .ops import crop, label_map, warp_labels, warp_normalize
from .result import ParsingResult
from .sources import SourceFrame, open_source

__all__ = ["HumanParser"]

Frame = NDArray[np.uint8]


class HumanParser:
    """Parses people in frames, with a model file made by `ce2p export`.

        parser = HumanParser("lip_fp32_473x473.onnx")
        result = parser(frame)                        # uint8 BGR [H, W, 3] -> ParsingResult
        for result in parser.stream("walk.mp4"): ...  # picture, folder, glob or video

    Backend and device are chosen once and stated: see `parser.backend` and `str(parser)`. A device asked for by name
    fails rather than falling back. `threads`: CPU threads of the network. `batch`: frames per forward pass for files
    with a dynamic batch; a CPU gains nothing from more than 1. Not thread-safe: one parser per thread. Raises
    BackendError and ModelFileError.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        backend: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        batch: int = 1,
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch is {batch}, expected at least 1")
        self.model = Path(model)
        self.backend: Backend = open_backend(model, backend, device, threads)
        self.group_size = self.backend.batch or batch
        """Frames per forward pass: the file's static batch, or `batch` where the file's is dynamic."""
        self.metadata: ModelMetadata = self.backend.metadata
        self._mappings: dict[tuple[int, int], FrameMapping] = {}

    def __str__(self) -> str:
        height, width = self.metadata.input_size
        return (
            f"{self.model.name}: {self.metadata.family}, {self.metadata.num_classes} classes "
            f"({self.metadata.dataset}), {height}x{width}, {self.metadata.precision}, {self.metadata.weights}; "
            f"{self.backend.name} on {self.backend.device}"
        )

    def __enter__(self) -> HumanParser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the network."""
        self.backend.close()

    def __call__(self, frame: Frame) -> ParsingResult:
        """Parse one frame, uint8 BGR [H, W, 3] of any size. Raises ValueError for another shape or type."""
        return self.parse_batch([frame])[0]

    def parse_batch(self, frames: Sequence[Frame]) -> list[ParsingResult]:
        """Parse frames of any sizes, results in the same order. Timings are per frame, network time shared evenly."""
        results: list[ParsingResult] = []
        for start in range(0, len(frames), self.group_size):
            results += self._forward(frames[start : start + self.group_size])
        return results

    def stream(self, source: str | Path) -> Iterator[ParsingResult]:
        """Parse a picture, folder, glob or video file, one result per picture or frame, decoding ahead meanwhile.

        Raises MediaError: at once for a source that cannot be opened, and after the last frame for a video that ended
        early or was damaged; the results before it stand.
        """
        with open_source(source) as opened:
            for _, result in self.parse_frames(opened):
                yield result
            opened.raise_problem()

    def parse_frames(self, frames: Iterable[SourceFrame]) -> Iterator[tuple[SourceFrame, ParsingResult]]:
        """Parse frames that know where they come from, in groups of `group_size`; each with its result."""
        iterator = iter(frames)
        while group := list(islice(iterator, self.group_size)):
            for frame, result in zip(group, self.parse_batch([f.image for f in group]), strict=True):
                yield frame, frame.annotate(result)

    def _forward(self, frames: Sequence[Frame]) -> list[ParsingResult]:
        """One pass over at most one batch; a static batch is filled up with zeros whose results are dropped."""
        started = time.perf_counter()
        for frame in frames:
            _check_frame(frame)
        mappings = [self._mapping(frame) for frame in frames]
        batch = self._prepare(frames, mappings)
        prepared = time.perf_counter()
        outputs = self.backend.run(batch)[0]
        ran = time.perf_counter()
        shared = {"prepare": (prepared - started) * 1e3 / len(frames), "network": (ran - prepared) * 1e3 / len(frames)}
        results = []
        for output, mapping in zip(outputs, mappings, strict=False):  # the padding has no mapping
            labels_started = time.perf_counter()
            labels = self._labels(output, mapping)
            timings = {**shared, "labels": (time.perf_counter() - labels_started) * 1e3}
            results.append(ParsingResult(labels, self.metadata.class_names, self.metadata.palette, timings))
        return results

    def _mapping(self, frame: Frame) -> FrameMapping:
        size = frame.shape[:2]
        if size not in self._mappings:
            if len(self._mappings) > 256:  # folders of pictures, each of another size
                self._mappings.clear()
            self._mappings[size] = frame_mapping(self.metadata.geometry, size, self.metadata.input_size)
        return self._mappings[size]

    def _prepare(self, frames: Sequence[Frame], mappings: Sequence[FrameMapping]) -> NDArray[Any]:
        height, width = self.metadata.input_size
        count = self.backend.batch or len(frames)
        if self.metadata.input_kind == "uint8":
            pixels = np.zeros((count, height, width, 3), np.uint8)
            for item, frame, mapping in zip(pixels, frames, mappings, strict=False):
                crop(frame, mapping.forward, mapping.input_size, out=item)
            return pixels
        images = np.zeros((count, 3, height, width), np.float32)
        for image, frame, mapping in zip(images, frames, mappings, strict=False):
            warp_normalize(frame, mapping.forward, mapping.input_size, self.metadata.normalisation, out=image)
        return images

    def _labels(self, output: NDArray[Any], mapping: FrameMapping) -> NDArray[np.uint8]:
        if self.metadata.output_kind == "labels":
            return warp_labels(output, mapping.unwarp, mapping.frame_size)
        return label_map(
            output, mapping.unwarp, mapping.input_size, mapping.frame_size,
            align_corners=self.metadata.align_corners, unwarp=self.metadata.geometry.unwarp,
        )  # fmt: skip


def _check_frame(frame: Frame) -> None:
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        found = f"{frame.dtype} {list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ValueError(f"a frame is {found}, expected a uint8 BGR array [H, W, 3]")
    if 0 in frame.shape:
        raise ValueError(f"a frame is {list(frame.shape)}, expected at least one pixel")
