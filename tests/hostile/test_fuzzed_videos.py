"""Damaged videos: no crash, no hang, an account that balances and equals what is written, no silent loss.

What no reader can tell, since the bytes stay within what the format allows and carry no checksum:
- a transport stream cut between two packets, where a frame ends (`_cut_clean`);
- changed bytes in the pictures of MP4, AVI, WebM and MPEG-TS which the decoder takes without complaint: as many frames,
  other pixels (`altered`, counted below); in MPEG-TS also such that two frames become one (`_inside_payload`).
Matroska files with checksums have no such case, and the test holds that.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p_runtime.media.video import LabelVideoWriter, VideoCounts, VideoFrame, VideoReader, VideoWriter
from tests.hostile.isolated import Outcome, run_isolated
from tests.hostile.mutations import mutations
from tests.runtime.media.clips import make_clip

_FRAMES = 25
_MOST_PIXELS = 1 << 20
"""Damaged headers announce huge pictures; those are read but not written, which would take minutes."""
_FORMATS = {
    "mp4": ("libx264", {}),
    "mkv": ("libx264", {}),
    "avi": ("mpeg4", {}),
    "webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "ts": ("libx264", {}),
}


@dataclass(frozen=True)
class _Case:
    name: str
    suffix: str
    data: bytes

    def __repr__(self) -> str:
        return f"{self.suffix}, {self.name}"


@dataclass(frozen=True)
class _Reading:
    """What came of a file, and of what was written from it."""

    pictures: tuple[bytes, ...]
    counts: VideoCounts
    problem: str | None
    notes: tuple[str, ...]
    written: tuple[int, ...]
    """Frames read again from the overlay and the label video; empty where the pictures were too large."""
    labels_equal: bool


def _read_and_write(case: _Case) -> _Reading:
    """Read all frames, write them as `ce2p parse` does, and read what was written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in.{case.suffix}"
        path.write_bytes(case.data)
        with VideoReader(path) as reader, ExitStack() as stack:
            height, width = reader.size
            writers: list[VideoWriter | LabelVideoWriter] = []
            if height * width <= _MOST_PIXELS:
                writers = [
                    stack.enter_context(VideoWriter(Path(folder) / "out.mp4", reader.frame_rate, reader.size)),
                    stack.enter_context(LabelVideoWriter(Path(folder) / "out.mkv", reader.frame_rate, reader.size)),
                ]
            pictures, labels = [], []
            for frame in reader:
                pictures.append(hashlib.md5(frame.image.tobytes()).digest())  # noqa: S324
                if writers:
                    labels.append(_write(frame, writers, (width, height)))
        again: list[list[VideoFrame]] = []
        for writer in writers:
            with VideoReader(writer.path, labels=isinstance(writer, LabelVideoWriter)) as written:
                again.append(list(written))
        equal = not again or all(np.array_equal(a.image, b) for a, b in zip(again[1], labels, strict=False))
        sizes = tuple(len(frames) for frames in again)
        return _Reading(
            pictures=tuple(pictures),
            counts=reader.counts,
            problem=reader.problem,
            notes=tuple(reader.notes),
            written=sizes,
            labels_equal=equal,
        )


def _write(frame: VideoFrame, writers: list, size: tuple[int, int]) -> np.ndarray:  # type: ignore[type-arg]
    """Both results of a frame whose labels are: bright or not. Returns the labels."""
    image = frame.image if frame.image.shape[1::-1] == size else cv2.resize(frame.image, size)
    labels = (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) > 128).astype(np.uint8)
    writers[0].write(image, frame.pts, frame.time_base)
    writers[1].write(labels, frame.pts, frame.time_base)
    return labels


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One clip of 25 frames per format."""
    folder = tmp_path_factory.mktemp("originals")
    same = {"fflags": "+bitexact"}  # or Matroska files get an identifier by chance
    return {
        suffix: make_clip(folder / f"a.{suffix}", codec, _FRAMES, options=options, container=same).read_bytes()
        for suffix, (codec, options) in _FORMATS.items()
    }


@pytest.mark.parametrize("suffix", list(_FORMATS))
def test_damaged_videos_lose_nothing_silently(
    suffix: str,
    originals: dict[str, bytes],
    fuzz_seed: int,
    fuzz_count: int,
    record_property: Callable[[str, object], None],
) -> None:
    original = originals[suffix]
    cases = [_Case("whole", suffix, original)]
    cases += [_Case(name, suffix, data) for name, data in mutations(original, fuzz_seed, fuzz_count)]
    outcomes = run_isolated(_read_and_write, cases, timeout=90)
    whole = outcomes[0].value
    assert isinstance(whole, _Reading), outcomes[0]
    assert whole.problem is None
    assert len(whole.pictures) == _FRAMES
    wrong = [outcome for outcome in outcomes if outcome.kind in ("crashed", "hung", "raised")]
    assert not wrong, wrong[:3]
    kinds = Counter(_judge(outcome, whole, original) for outcome in outcomes[1:])
    record_property(suffix, str(dict(kinds)))
    assert not {kind for kind in kinds if kind.startswith("WRONG")}, kinds
    assert kinds["refused"] + kinds["told"] > len(cases) // 4  # the damage did reach the files
    if suffix == "mkv":
        assert not kinds["altered, untellable"]


def _judge(outcome: Outcome, whole: _Reading, original: bytes) -> str:
    """One word on a case, beginning with WRONG where a promise is broken."""
    if outcome.kind == "refused":
        return "refused"
    reading: _Reading = outcome.value
    counts, frames = reading.counts, len(reading.pictures)
    if counts.packets + counts.further != counts.decoded + counts.hidden + counts.skipped or counts.waiting:
        return f"WRONG account, {outcome.case}: {counts}"
    if counts.decoded != frames or any(number != frames for number in reading.written) or not reading.labels_equal:
        return f"WRONG numbers, {outcome.case}: {frames} read, {counts}, {reading.written} written"
    if reading.problem is not None:
        return "told"
    if counts.damaged or counts.skipped or counts.unread:
        return f"WRONG silence, {outcome.case}: {counts}"
    if reading.pictures == whole.pictures:
        return "equal"
    if reading.notes:
        return "noted"
    if frames == _FRAMES:
        return "altered, untellable"
    if outcome.case.suffix == "ts" and (
        _cut_clean(original, outcome.case.data) or _inside_payload(original, outcome.case.data)
    ):
        return "shorter, untellable"
    return f"WRONG silence, {outcome.case}: {frames} frames"


def _cut_clean(original: bytes, data: bytes) -> bool:
    """Whether a transport stream is a beginning of the original that ends with a whole packet."""
    return len(data) % 188 == 0 and original.startswith(data)


def _inside_payload(original: bytes, data: bytes) -> bool:
    """Whether all headers of all transport packets are as they were, and where frames start is still marked."""
    if len(data) != len(original):
        return False
    for start in range(0, len(original), 188):
        header = 5 + original[start + 4] if original[start + 3] & 0x20 else 4
        header += 4 if original[start + 1] & 0x40 else 0  # the start of a frame begins with 00 00 01 E0
        if data[start : start + header] != original[start : start + header]:
            return False
    return True
