"""Whole frames, uint8 BGR in and labels of the frame's size out: the usual pipeline around two networks, and ours.

Every candidate also writes the labels as a palette PNG, which is timed by itself: the usual one with Pillow, ours with
the runtime.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.baseline_pipeline import BaselinePipeline, write_baseline_png
from benchmarks.rivals import EAGER, NAIVE, Peers
from ce2p_runtime.media.png import write_png

__all__ = ["STAGES", "USUAL", "FrameRun", "check_usual", "frame_runs"]

Labels = NDArray[np.uint8]
Parse = Callable[[NDArray[np.uint8]], tuple[Labels, Mapping[str, float]]]
STAGES = ("prepare", "network", "labels", "frame", "png", "whole")
"""frame: from the decoded frame to its labels, by a clock of its own around the first three; whole: with the PNG."""
USUAL = {EAGER: "usual pipeline, PyTorch", NAIVE: "usual pipeline, ONNX Runtime naive"}
"""Peer -> what its pipeline is called."""
LEAST_AGREEMENT = 0.999
"""Of the usual pipeline's labels with those of HumanParser on the same network. OpenCV 4 rounds coordinates to 1/32
pixel, and so moves boundaries."""


@dataclass(frozen=True)
class FrameRun:
    """One way from a frame to labels."""

    name: str
    peer: str
    """The network's."""
    parse: Parse
    write: Callable[[Path, Labels], object]

    def stages(self, frame: NDArray[np.uint8], png: Path) -> dict[str, float]:
        """Milliseconds of each of STAGES."""
        started = time.perf_counter_ns()
        labels, parts = self.parse(frame)
        parsed = time.perf_counter_ns()
        self.write(png, labels)
        written = time.perf_counter_ns()
        times = {"frame": parsed - started, "png": written - parsed, "whole": written - started}
        return {**{name: parts[name] for name in STAGES[:3]}, **{name: ns / 1e6 for name, ns in times.items()}}


def frame_runs(peers: Peers) -> list[FrameRun]:
    """The usual pipeline around PyTorch and around ONNX Runtime, and ours on each file and backend."""
    runs = []
    for name, title in USUAL.items():
        if name in peers:
            peer = peers[name]
            metadata = peer.parser.metadata
            usual = BaselinePipeline(lambda image, peer=peer: peer.network(image)[0], metadata)  # type: ignore[misc]
            palette = metadata.palette
            runs.append(FrameRun(title, name, usual.timed, lambda path, x, p=palette: write_baseline_png(path, x, p)))  # type: ignore[misc]
    for peer in peers.ready:
        if not peer.ours:
            continue

        def parse(frame: NDArray[np.uint8], parser=peer.parser) -> tuple[Labels, Mapping[str, float]]:  # type: ignore[no-untyped-def]
            result = parser(frame)
            return result.labels, result.timings

        palette = peer.parser.metadata.palette
        runs.append(FrameRun(peer.name, peer.name, parse, lambda path, x, p=palette: write_png(path, x, p)))  # type: ignore[misc]
    return runs


def check_usual(runs: Sequence[FrameRun], peers: Peers, frames: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Share of pixels where each pipeline agrees with HumanParser on PyTorch, over all frames.

    Raises ArithmeticError for a usual pipeline that computes something else.
    """
    expected = [peers[EAGER].parser(frame).labels for frame in frames]
    shares = {}
    for run in runs:
        same = [float(np.mean(run.parse(f)[0] == e)) for f, e in zip(frames, expected, strict=True)]
        shares[run.name] = float(np.average(same, weights=[e.size for e in expected]))
        if run.peer in USUAL and shares[run.name] < LEAST_AGREEMENT:
            raise ArithmeticError(
                f"{run.name}: {shares[run.name]:.3%} of its labels are those of HumanParser on the same network, "
                f"expected {LEAST_AGREEMENT:.1%}; it computes something else, so its time means nothing"
            )
    return shares
