"""Pictures that int8 is calibrated on, as the network takes them."""

from __future__ import annotations

import math
from pathlib import Path

from ce2p_export import Quantisation
from ce2p_runtime import ModelMetadata
from ce2p_runtime.frame_steps import network_input
from ce2p_runtime.precisions import CalibrationMethod, Target

from .notes import note
from .pictures import choose_pictures

__all__ = ["full_batches", "quantisation_on"]


def quantisation_on(
    pictures: Path | None,
    metadata: ModelMetadata,
    *,
    count: int,
    batch: int,
    method: CalibrationMethod,
    target: Target,
    low_rank: bool,
    shared: bool,
) -> Quantisation:
    """How activations get their 8 bits: ranges over `count` of `pictures` (None: synthetic people), in full batches.

    `shared`: the same pictures also serve the gate, which takes every other one. `low_rank`: the context convolution
    may be factorised; not on synthetic people. Raises what `choose_pictures` does.
    """
    chosen, described = choose_pictures(pictures, metadata, count, "calibration", shared=shared)
    note(f"calibration: {method}, on {described}")
    # Calibration runs the float32 graph, whatever the file's own inputs will be.
    kind = "uint8" if metadata.input_kind == "uint8" else "float32"
    inputs = [
        network_input(metadata, [chosen[index].image for index in batched]).astype(kind, copy=False)
        for batched in full_batches(len(chosen), batch)
    ]
    if low_rank and pictures is None and target == "cpu":
        note("note: synthetic people do not show what photographs need: nothing is factorised; give --calib a folder")
    return Quantisation(inputs, described, method, target, low_rank=low_rank and pictures is not None)


def full_batches(pictures: int, size: int) -> list[list[int]]:
    """Which pictures go into batches of `size`. The last batch is filled up, since empty places would calibrate, too.

    Pictures come again at places of the same parity: whoever keeps every other picture to test on never saw it.
    """
    period = pictures - pictures % 2 or 1
    places = math.ceil(pictures / size) * size
    order = [place if place < pictures else place % period for place in range(places)]
    return [order[start : start + size] for start in range(0, places, size)]
