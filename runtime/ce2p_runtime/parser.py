"""HumanParser: frames in, label maps at the frames' own size out, with nothing but a model file."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .backends import Backend, BackendChoice, DeviceBackend, open_backend
from .cuda.arrays import DeviceArray
from .cuda.pipeline import GpuPipeline
from .errors import BackendError
from .frame_steps import check_frame, check_output, labels_of, prepare_batch
from .geometry import FrameMapping, frame_mapping
from .media.frame_inputs import FrameInputs, Order, several_frames
from .media.pictures import MAX_PIXELS, WHITE
from .media.sources import SourceFrame, open_source
from .model_files.metadata import ModelMetadata
from .result import ParsingResult

Frame = NDArray[np.uint8]
T = TypeVar("T")


class HumanParser:
    """Parses people in frames, with a model file made by `ce2p export`.

        parser = HumanParser("lip_fp32_473x473.onnx")
        result = parser(frame)                        # an array, a PIL image, a path, or a picture file's bytes
        for result in parser.stream("walk.mp4"): ...  # picture, folder, glob, video, or several frames

    Backend and device are chosen once and stated: see `parser.backend`, `parser.choice` and `str(parser)`. On the CPU
    "auto" times the installed backends, once per network and machine, and takes the fastest (see `open_backend`). That
    takes some seconds; `logging.basicConfig(level=logging.INFO)` shows when it begins. A device asked for by name fails
    rather than falling back. `threads`: CPU threads of the network. `batch`: frames per forward pass for files with a
    dynamic batch; a CPU gains nothing from more than 1. `trust_engine`: load a TensorRT engine that is not the one its
    .json was written for. Raises BackendError and ModelFileError.

    One parser serves any number of threads: every call gets the labels of its own frame, also through
    `asyncio.to_thread(parser, frame)`. On the CPU calls overlap, on a GPU they take turns. A generator (`stream`,
    `parse_frames`) is for one thread at a time, but many may be under way. `close` may come meanwhile: what has begun
    ends normally or with a BackendError, what comes later is a BackendError. A process forked while nothing was being
    parsed may use its parent's parser on the CPU (ONNX Runtime, OpenVINO), with one thread per call; on a GPU that is a
    BackendError, since CUDA does not survive a fork.

    On an NVIDIA GPU a frame travels as uint8 and comes back as labels, two groups of frames at once where several are
    to be parsed. Frames that are there already (DLPack or __cuda_array_interface__) are taken as they are, and
    `parse_device` leaves the labels there.

    Arrays are uint8 [H, W, 3] in `order`, "bgr" as OpenCV has them or "rgb"; also [H, W] (grey) and [H, W, 4] (with
    opacity). What is transparent, in arrays and files, shows `background` (RGB). Picture files of more than
    `max_pixels` pixels are refused. `keep_frames`: each result has its frame, so that `result.overlay()` needs nothing;
    mind the memory, 6 MB for 1080p. Raises ValueError for other values.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        backend: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        batch: int = 1,
        trust_engine: bool = False,
        order: Order = "bgr",
        background: tuple[int, int, int] = WHITE,
        max_pixels: int = MAX_PIXELS,
        keep_frames: bool = False,
    ) -> None:
        _check_batch(batch)
        self.inputs = FrameInputs(order, background, max_pixels, keep_frames)
        """How frames are taken."""
        self.model: Path | None = Path(model)
        """The model file; None where the backend was made elsewhere."""
        self._set_up(open_backend(model, backend, device, threads, trust_engine), self.model.name, batch)

    @classmethod
    def on(cls, backend: Backend, *, name: str, batch: int = 1) -> HumanParser:
        """A parser on a backend made elsewhere, which it closes with itself. `name` is what `str(parser)` calls it.

        `batch` as above. Raises ValueError for a batch below 1, and BackendError.
        """
        _check_batch(batch)
        parser = cls.__new__(cls)
        parser.model, parser.inputs = None, FrameInputs()
        parser._set_up(backend, name, batch)
        return parser

    def _set_up(self, backend: Backend, name: str, batch: int) -> None:
        self.name = name
        """What is parsed with, for people: the file's name."""
        self.backend: Backend = backend
        self.choice: BackendChoice | None = backend.choice
        """What was measured to choose the backend; None where nothing was."""
        self.group_size = backend.batch or batch
        """Frames per forward pass: the file's static batch, or `batch` where the file's is dynamic."""
        self.metadata: ModelMetadata = backend.metadata
        self._mappings: dict[tuple[int, int], FrameMapping] = {}
        self._gpu: GpuPipeline | None = None
        if isinstance(backend, DeviceBackend):
            try:
                self._gpu = GpuPipeline(backend, self.group_size)
            except BaseException:
                backend.close()
                raise

    def __str__(self) -> str:
        gpu = f" ({self._gpu.description})" if self._gpu is not None else ""
        choice = f" ({self.choice.description})" if self.choice is not None else ""
        return f"{self.name}: {self.metadata.summary}; {self.backend.name} on {self.backend.device}{gpu}{choice}"

    def __enter__(self) -> HumanParser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the network and what it holds on its device."""
        if self._gpu is not None:
            self._gpu.close()
        self.backend.close()

    def __call__(self, frame: Any) -> ParsingResult:
        """Parse one frame of any size: uint8 array, PIL image, path, or the bytes of a picture file (see the class).

        Raises ValueError for anything else, MediaError for files that are no whole picture.
        """
        return self.parse_batch([frame])[0]

    def parse_batch(self, frames: Iterable[Any]) -> list[ParsingResult]:
        """Parse frames of any sizes, results in the same order. Timings are per frame, network time shared evenly."""
        return list(self._parse_given(frames))

    def parse_device(self, frame: Any) -> DeviceArray:
        """Parse one frame, as above or uint8 BGR [H, W, 3] on the GPU; its labels, uint8 [H, W], stay on the GPU.

        `torch.from_dlpack(labels)` or `cupy.asarray(labels)` uses them without a copy. Raises BackendError where the
        network does not run on a GPU, ValueError for another frame.
        """
        if self._gpu is None:
            raise BackendError(
                f"this network runs on {self.backend.device}, expected a GPU: only there can labels stay on a GPU; "
                'open it with device="cuda", or call the parser itself'
            )
        labels = self._gpu.collect(self._gpu.submit([self.inputs.take(frame).image], keep_on_device=True))[0].labels
        assert isinstance(labels, DeviceArray)  # noqa: S101  (as was asked for)
        return labels

    def stream(self, source: str | os.PathLike[str] | Iterable[Any]) -> Iterator[ParsingResult]:
        """Parse a picture, folder, glob or video file, one result per picture or frame, decoding ahead meanwhile.

        Or several frames of the kinds that `parser(frame)` takes, also mixed, read one after the other.

        Raises MediaError: at once for a source that cannot be opened, at its place for one of several frames, and after
        the last frame for damaged pictures in a folder and for a video that ended early or was damaged; the results
        before it stand.
        """
        if not isinstance(source, str | os.PathLike):
            yield from self._parse_given(source)
            return
        name = source if isinstance(source, str) else Path(source)
        with open_source(name, max_pixels=self.inputs.max_pixels, background=self.inputs.background) as opened:
            for frame, result in self.parse_frames(opened):
                yield self.inputs.finish(result, frame.image)
            opened.raise_problem()

    def parse_frames(self, frames: Iterable[SourceFrame]) -> Iterator[tuple[SourceFrame, ParsingResult]]:
        """Parse frames that know where they come from, in groups of `group_size`; each with its result."""
        for frame, result in self._parsed((frame, frame.image) for frame in frames):
            yield frame, frame.annotate(result)

    def _parse_given(self, frames: Iterable[Any]) -> Iterator[ParsingResult]:
        taken = map(self.inputs.take, several_frames(frames))
        for frame, result in self._parsed((frame, frame.image) for frame in taken):
            yield self.inputs.finish(frame.annotate(result), frame.image)

    def _parsed(self, frames: Iterable[tuple[T, Any]]) -> Iterator[tuple[T, ParsingResult]]:
        """Each frame's companion with its result, in order."""
        groups = _groups(frames, self.group_size)
        if self._gpu is not None:
            yield from self._parsed_on_gpu(self._gpu, groups)
            return
        for group in groups:
            for (companion, _), result in zip(group, self._forward([image for _, image in group]), strict=True):
                yield companion, result

    def _parsed_on_gpu(
        self, gpu: GpuPipeline, groups: Iterator[list[tuple[T, Any]]]
    ) -> Iterator[tuple[T, ParsingResult]]:
        """The same with several groups in flight. What was in flight before an error is delivered before it."""
        waiting: deque[tuple[int, list[T]]] = deque()
        problem: Exception | None = None
        try:
            while problem is None:
                try:
                    group = next(groups, None)
                    if group is None:
                        break
                    waiting.append((gpu.submit([image for _, image in group]), [companion for companion, _ in group]))
                except Exception as error:
                    problem = error
                if len(waiting) == gpu.slots:
                    yield from self._collected(gpu, waiting.popleft())
            while waiting:
                yield from self._collected(gpu, waiting.popleft())
        finally:
            for ticket, _ in waiting:  # the caller left half-way
                gpu.discard(ticket)
        if problem is not None:
            raise problem

    def _collected(self, gpu: GpuPipeline, group: tuple[int, list[T]]) -> Iterator[tuple[T, ParsingResult]]:
        ticket, companions = group
        for companion, parsed in zip(companions, gpu.collect(ticket), strict=True):
            assert isinstance(parsed.labels, np.ndarray)  # noqa: S101  (as was asked for)
            metadata = self.metadata
            yield companion, ParsingResult(parsed.labels, metadata.class_names, metadata.palette, parsed.timings)

    def _forward(self, frames: Sequence[Frame]) -> list[ParsingResult]:
        """One pass over at most one batch; a static batch is filled up with zeros whose results are dropped."""
        started = time.perf_counter()
        for frame in frames:
            check_frame(frame)
        mappings = [self._mapping(frame) for frame in frames]
        batch = prepare_batch(self.metadata, frames, mappings, self.backend.batch or len(frames))
        prepared = time.perf_counter()
        outputs = self.backend.run(batch)[0]
        check_output(self.metadata, outputs, len(batch), self.name)
        ran = time.perf_counter()
        shared = {"prepare": (prepared - started) * 1e3 / len(frames), "network": (ran - prepared) * 1e3 / len(frames)}
        results = []
        for output, mapping in zip(outputs, mappings, strict=False):  # the padding has no mapping
            labels_started = time.perf_counter()
            labels = labels_of(self.metadata, output, mapping)
            timings = {**shared, "labels": (time.perf_counter() - labels_started) * 1e3}
            results.append(ParsingResult(labels, self.metadata.class_names, self.metadata.palette, timings))
        return results

    def _mapping(self, frame: Frame) -> FrameMapping:
        size = frame.shape[:2]
        mapping = self._mappings.get(size)
        if mapping is None:
            mapping = frame_mapping(self.metadata.geometry, size, self.metadata.input_size)
            if len(self._mappings) > 256:  # folders of pictures, each of another size
                self._mappings.clear()
            self._mappings[size] = mapping
        return mapping


def _check_batch(batch: int) -> None:
    if batch < 1:
        raise ValueError(f"batch is {batch}, expected at least 1")


def _groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter. Where an item cannot be had, those before it come first."""
    group: list[T] = []
    try:
        for item in items:
            group.append(item)
            if len(group) == size:
                yield group
                group = []
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group
