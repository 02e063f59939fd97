"""PeopleParser: M-CE2P's inference for frames with several people, on any number of exported networks.

Global networks see the whole frame, local ones each person's box; their logits are fused (logit_fusion.py), cut by the
person masks (part_instances.py) and grown (refine.py). The published system has one global and two local networks;
SCHP's one of each.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..backends import Backend, open_backend
from ..backends.averaging import AveragedBackend
from ..errors import ModelFileError
from ..frame_steps import check_frame, check_output, prepare_batch
from ..geometry import frame_mapping
from .crop_logits import CropLogits
from .instances import Box, Person, check_people, crop_box, person_mask
from .logit_fusion import FusedLabels, fuse
from .part_instances import Confidence, PartInstance, human_map, part_confidences, part_map
from .people_result import PeopleResult
from .refine import refine

Frame = NDArray[np.uint8]


class PeopleParser:
    """Parses frames with several people, given where the people are.

        parser = PeopleParser.open("cihp_global.onnx", ["cihp_local.onnx"])
        result = parser(frame, select_people(detections))     # uint8 BGR [H, W, 3] -> PeopleResult

    `whole`: the network for the whole frame, or None. `local`: those for one person's crop; at least one network in
    all. They are backends rather than HumanParsers because logits are wanted, which a HumanParser on a GPU keeps there.
    `batch`: crops per forward pass of networks with a dynamic batch. `enlarge`: of the boxes. `grow`: refine.
    `confidence`: see part_instances. `names`: what messages call the networks, the one for the whole frame first.
    Raises ModelFileError for networks that give labels or disagree about the classes.
    Serves several threads at once, as a HumanParser does.
    """

    def __init__(
        self,
        whole: Backend | None,
        local: Sequence[Backend] = (),
        *,
        batch: int = 1,
        enlarge: float = 1.2,
        grow: bool = True,
        confidence: Confidence = "logit",
        names: Sequence[str] = (),
    ) -> None:
        self.whole, self.local = whole, tuple(local)
        self._batch, self._enlarge, self._grow = batch, enlarge, grow
        self._confidence: Confidence = confidence
        networks = self.networks
        if not networks or batch < 1 or enlarge <= 0:
            raise ValueError(f"{len(networks)} networks, batch {batch}, enlarge {enlarge}; expected at least 1, 1, > 0")
        self.names = tuple(names) or tuple(f"network {number}" for number in range(1, len(networks) + 1))
        self.metadata = networks[0].metadata
        """Of the first network: classes and colours, which all share."""
        for network, name in zip(networks, self.names, strict=True):
            _check_network(network, self.metadata.class_names, name)

    @classmethod
    def open(
        cls,
        whole: str | Path | None,
        local: Sequence[str | Path] = (),
        *,
        backend: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        flip: bool = False,
        batch: int = 1,
        grow: bool = True,
        confidence: Confidence = "logit",
    ) -> PeopleParser:
        """Load the networks from files made by `ce2p export`.

        `flip` averages every network's logits with those of the mirrored frame. The other options are those of the
        class and of HumanParser. Raises as they do.
        """
        paths = [Path(path) for path in (whole, *local) if path is not None]
        with ExitStack() as closing:
            opened: list[Backend] = []
            for path in paths:
                network = open_backend(path, backend, device, threads)
                closing.callback(network.close)
                opened.append(AveragedBackend(network, flip=True) if flip else network)
            first, rest = (None, opened) if whole is None else (opened[0], opened[1:])
            names = [path.name for path in paths]
            parser = cls(first, rest, batch=batch, grow=grow, confidence=confidence, names=names)
            closing.pop_all()
            return parser

    @property
    def networks(self) -> tuple[Backend, ...]:
        """All of them, the one for the whole frame first."""
        return self.local if self.whole is None else (self.whole, *self.local)

    def descriptions(self) -> list[str]:
        """A line for each network: what it is for, where it comes from and what runs it."""
        roles = ["local"] * len(self.local) if self.whole is None else ["global", *["local"] * len(self.local)]
        return [
            f"{role}: {name}: {network.metadata.summary}; {network.name} on {network.device}"
            for role, name, network in zip(roles, self.names, self.networks, strict=True)
        ]

    def __enter__(self) -> PeopleParser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the networks and what they hold on their devices."""
        for network in self.networks:
            network.close()

    def __call__(self, frame: Frame, people: Sequence[Person]) -> PeopleResult:
        """Parse one frame, uint8 BGR [H, W, 3], with these people in it (see `select_people`), in any order.

        Without people the global network decides alone; without one, too, everything is background. Raises ValueError
        for another frame, for masks or boxes that do not fit it, and for more people than `check_people` allows.
        """
        check_frame(frame)
        size = (frame.shape[0], frame.shape[1])
        check_people(len(people), size)
        people = sorted(people, key=lambda person: -person.area)  # the published order; later ones win overlaps
        boxes = [crop_box(person.box, size, self._enlarge) for person in people]
        masks = np.zeros((len(people), *size), np.bool_)
        for mask, person in zip(masks, people, strict=True):
            mask[:] = person_mask(person, size)
        clock = _Clock()
        fused = self._fused(frame, boxes, clock)
        with clock.stage("instances"):
            parts = part_map(fused.labels, masks)
        if self._grow:
            with clock.stage("refine"):
                parts, masks = refine(parts, fused.labels, masks)
        with clock.stage("instances"):
            weights = [person.score for person in people] if self._confidence == "weighted" else None
            scores = part_confidences(parts, fused.logits, weights)
            humans, order = human_map(masks)
        number_of = {int(index): number for number, index in enumerate(order, start=1)}
        instances = tuple(
            PartInstance(number, int(class_id), number_of[int(person)], score)
            for number, (class_id, person, score) in enumerate(
                zip(parts.classes, parts.people, scores, strict=True), start=1
            )
        )
        refined = tuple(dataclasses.replace(people[index], mask=masks[index]) for index in order)
        return PeopleResult(
            labels=fused.labels,
            humans=humans,
            parts=parts.ids,
            part_instances=instances,
            people=refined,
            class_names=self.metadata.class_names,
            palette=self.metadata.palette,
            timings=clock.stages,
        )

    def _fused(self, frame: Frame, boxes: Sequence[Box], clock: _Clock) -> FusedLabels:
        size = (frame.shape[0], frame.shape[1])
        with clock.stage("global"):
            full = (0, 0, size[1], size[0])
            whole = list(self._logits(self.whole, frame, [full])) if self.whole is not None else []
        with clock.stage("local"):
            local = [list(self._logits(network, frame, boxes)) for network in self.local] if boxes else []
        with clock.stage("fusion"):
            if not whole and not local:
                return FusedLabels(np.zeros(size, np.uint8), np.full(size, np.inf, np.float32))
            return fuse(size, self.metadata.num_classes, whole, local)

    def _logits(self, network: Backend, frame: Frame, boxes: Sequence[Box]) -> Iterator[CropLogits]:
        """One network's logits of each box of the frame."""
        metadata = network.metadata
        remaining = iter(boxes)
        for group in iter(lambda: list(islice(remaining, network.batch or self._batch)), []):
            crops = [frame[y0:y1, x0:x1] for x0, y0, x1, y1 in group]
            mappings = [
                frame_mapping(metadata.geometry, (crop.shape[0], crop.shape[1]), metadata.input_size) for crop in crops
            ]
            batch = prepare_batch(metadata, crops, mappings, network.batch or len(group))
            outputs = network.run(batch)[0]
            check_output(metadata, outputs, len(batch), f"the network ({metadata.family}, {metadata.dataset})")
            for output, mapping, box in zip(outputs, mappings, group, strict=False):  # padding has no box
                yield CropLogits(output, metadata, mapping, box)


def _check_network(network: Backend, class_names: tuple[str, ...], name: str) -> None:
    metadata = network.metadata
    if metadata.output_kind != "logits":
        raise ModelFileError(
            f"{name} ({metadata.family}, {metadata.dataset}): its output is labels, expected logits, which are fused; "
            "export it again with --output logits"
        )
    if metadata.class_names != class_names:
        raise ModelFileError(
            f"{name}: its {metadata.num_classes} classes ({metadata.dataset}) are not the first network's "
            f"{len(class_names)}; take networks of one data set"
        )


class _Clock:
    """Milliseconds per stage; a stage that comes twice adds up."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.stages[name] = self.stages.get(name, 0.0) + (time.perf_counter() - started) * 1e3
