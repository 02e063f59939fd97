"""Whole frames, uint8 BGR in and labels of the frame's size out: the baseline pipeline around two networks, and ours.

Each also writes the labels as a palette PNG, which is timed by itself: the baseline with Pillow, ours with the runtime.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.baseline_pipeline import BaselinePipeline, write_baseline_png
from benchmarks.rivals import EAGER, NAIVE, Contender, Contenders
from ce2p_runtime.media.png import write_png

Frame = NDArray[np.uint8]
Labels = NDArray[np.uint8]
BASELINES = {EAGER: "baseline pipeline, PyTorch", NAIVE: "baseline pipeline, ONNX Runtime naive"}
"""Contender -> what the pipeline around its network is called."""
LEAST_AGREEMENT = 0.999
"""Of the baseline pipeline's labels with those of HumanParser on the same network. OpenCV 4 rounds coordinates to 1/32
pixel, and so moves boundaries."""


@dataclass(frozen=True)
class FrameRun:
    """One way from a frame to labels."""

    name: str
    contender: Contender
    """Whose network it runs."""
    parse: Callable[[Frame], tuple[Labels, Mapping[str, float]]]
    """Labels, and milliseconds of the stages prepare, network and labels."""
    write: Callable[..., object]
    """Takes the PNG's path, labels and palette."""

    def stages(self, frame: Frame, png: Path) -> dict[str, float]:
        """Milliseconds. frame: to its labels, by a clock of its own around the three; whole: with the PNG."""
        started = time.perf_counter_ns()
        labels, parts = self.parse(frame)
        parsed = time.perf_counter_ns()
        self.write(png, labels, self.contender.parser.metadata.palette)
        written = time.perf_counter_ns()
        times = {"png": written - parsed, "frame": parsed - started, "whole": written - started}
        stages = {name: parts[name] for name in ("prepare", "network", "labels")}
        return {**stages, **{name: ns / 1e6 for name, ns in times.items()}}

    def in_turn(self, frames: Sequence[Frame], png: Path) -> Callable[[], dict[str, float]]:
        """To be called once in each round, so that all parse the same frame in the same round."""
        turn = cycle(frames)
        return lambda: self.stages(next(turn), png)


def frame_runs(contenders: Contenders) -> list[FrameRun]:
    """The baseline pipeline around PyTorch and around ONNX Runtime, and ours on each file and backend."""
    runs = []
    for one in (contenders.ready[name] for name in BASELINES if name in contenders.ready):
        pipeline = BaselinePipeline(lambda image, one=one: one.network(image)[0], one.parser.metadata)  # type: ignore[misc]
        runs.append(FrameRun(BASELINES[one.name], one, pipeline.timed, write_baseline_png))
    for one in contenders.ready.values():
        if one.ours:
            runs.append(FrameRun(one.name, one, lambda frame, one=one: _parsed(one, frame), write_png))  # type: ignore[misc]
    return runs


def _parsed(contender: Contender, frame: Frame) -> tuple[Labels, Mapping[str, float]]:
    result = contender.parser(frame)
    return result.labels, result.timings


def check_baselines(runs: Sequence[FrameRun], contenders: Contenders, frames: Sequence[Frame]) -> dict[str, float]:
    """Share of pixels where each run agrees with HumanParser on PyTorch, over all frames.

    Raises ArithmeticError for a baseline pipeline that computes something else.
    """
    expected = [contenders.ready[EAGER].parser(frame).labels for frame in frames]
    shares = {}
    for run in runs:
        same = [float(np.mean(run.parse(f)[0] == e)) for f, e in zip(frames, expected, strict=True)]
        shares[run.name] = float(np.average(same, weights=[e.size for e in expected]))
        if not run.contender.ours and shares[run.name] < LEAST_AGREEMENT:
            raise ArithmeticError(
                f"{run.name}: {shares[run.name]:.3%} of its labels are those of HumanParser on the same network, "
                f"expected {LEAST_AGREEMENT:.1%}; it computes something else, so its time means nothing"
            )
    return shares
