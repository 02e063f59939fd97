"""A network that is a formula, so that faults can be put in by hand: each class is a colour, the nearest one wins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime import HumanParser, ModelMetadata
from ce2p_runtime.backends import Backend
from ce2p_runtime.judge import GatePicture
from ce2p_runtime.model_files.metadata import Geometry, Normalisation

Array = NDArray[Any]
Pixels = NDArray[np.uint8]
CLASSES = ("Background", "Hair", "Coat", "Skirt")
COLOURS = np.array([(20, 20, 20), (230, 40, 40), (40, 220, 60), (50, 60, 235)], np.float32)
"""BGR."""
SIZE = (96, 128)


def metadata(**changes: Any) -> ModelMetadata:
    made = ModelMetadata(
        family="ssseg",
        dataset="custom",
        class_names=CLASSES,
        palette=tuple((int(r), int(g), int(b)) for b, g, r in COLOURS),
        flip_pairs=(),
        normalisation=Normalisation("bgr", 1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        geometry=Geometry("resize", False, "float", "logits"),
        align_corners=False,
        input_size=SIZE,
        output_stride=8,
        input_kind="float",
        output_kind="logits",
        precision="int8",
        weights="trained",
    )
    return dataclasses.replace(made, **changes)


class ColourNetwork(Backend):
    """The backend. `fault_in` and `fault_out` spoil its input and its logits."""

    name = "formula"
    device = "cpu"

    def __init__(
        self,
        fault_in: Callable[[Array], Array] = lambda x: x,
        fault_out: Callable[[Array], Array] = lambda x: x,
        batch: int | None = None,
        **changes: Any,
    ) -> None:
        self.metadata = metadata(**changes)
        self.batch = batch
        self.fault_in, self.fault_out = fault_in, fault_out
        self.batches: list[int] = []

    def run(self, batch: Array) -> list[Array]:
        self.batches.append(len(batch))
        images = self.fault_in(batch)
        count, _, height, width = images.shape
        small = images.reshape(count, 3, height // 4, 4, width // 4, 4).mean((3, 5))
        distance = ((small[:, None] - COLOURS[None, :, :, None, None] / 255) ** 2).sum(2)
        return [np.ascontiguousarray(self.fault_out(-10 * distance), np.float32)]

    def close(self) -> None:
        pass


def parser(name: str = "candidate", **faults: Any) -> HumanParser:
    return HumanParser.on(ColourNetwork(**faults), name=name)


def picture(index: int, size: tuple[int, int] = (150, 210)) -> GatePicture:
    """Rectangles in the classes' colours on the background's, with noise; the truth is exact."""
    rng = np.random.default_rng(index)
    truth = np.zeros(size, np.uint8)
    for label in (1, 2, 3):
        top, left = (int(rng.integers(0, side // 2)) for side in size)
        truth[top : top + size[0] // 3, left : left + size[1] // 3] = label
    image = np.clip(COLOURS[truth] + rng.normal(0, 8, (*size, 3)), 0, 255).astype(np.uint8)
    return GatePicture(f"rectangles {index}", image, truth)


def pictures(count: int = 4) -> list[GatePicture]:
    return [picture(index, (150 + 31 * index, 210 - 17 * index)) for index in range(count)]
