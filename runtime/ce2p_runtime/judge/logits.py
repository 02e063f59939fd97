"""Logits as numbers: what a file computes against what the trained network does, on the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..precisions import LogitLimits
from .allowance import Check, allowance_used

Outputs = Sequence[NDArray[Any]]


@dataclass(frozen=True, eq=False)
class LogitPicture:
    """An input, and what should come out."""

    name: str
    image: NDArray[Any]
    """As the file takes it, a batch of one."""
    expected: Outputs
    """In the order of the file's outputs, without the batch's dimension: float32 logits, or uint8 labels."""


@dataclass(frozen=True)
class ProofRow:
    """One input through both."""

    picture: str
    relative_l2: float | None
    """||file - reference|| / ||reference|| over all float outputs; None where only labels leave the graph."""
    max_abs: float | None
    pixel_agreement: float
    """Share of pixels with the same label."""

    def checks(self, limits: LogitLimits) -> tuple[Check, Check]:
        """Both figures beside their limits."""
        l2, agreement = f"relative L2 on {self.picture}", f"pixel agreement on {self.picture}"
        return (
            Check(l2, self.relative_l2, limits.relative_l2, at_least=False, is_share=False),
            Check(agreement, self.pixel_agreement, limits.pixel_agreement),
        )


@dataclass(frozen=True)
class Proof:
    """All inputs, and the verdict of the worst."""

    rows: tuple[ProofRow, ...]
    runtime: str
    limits: LogitLimits

    @property
    def worst(self) -> ProofRow:
        return max(self.rows, key=lambda row: (1 - row.pixel_agreement, row.relative_l2 or 0.0))

    @property
    def max_relative_l2(self) -> float:
        return max((row.relative_l2 for row in self.rows if row.relative_l2 is not None), default=0.0)

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every figure that is judged."""
        return tuple(check for row in self.rows for check in row.checks(self.limits))

    @property
    def passed(self) -> bool:
        return self.failure is None

    @property
    def used(self) -> float:
        """Share of what the limits allow that is used up; see `allowance_used`."""
        return allowance_used(self.checks, self.passed)

    @property
    def failure(self) -> str | None:
        """Why the proof failed, in one line, or None."""
        return next((check.text for check in self.checks if not check.held), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {"runtime": self.runtime, "limits": asdict(self.limits), "rows": [asdict(row) for row in self.rows]}


def judge_logits(
    pictures: Sequence[LogitPicture],
    runs: Mapping[str, Callable[[NDArray[Any]], Outputs]],
    limits: LogitLimits,
    *,
    batch: int | None,
    runtime: str,
) -> Proof:
    """Compare what each of `runs` makes of the pictures with what should come out. Nothing is raised for a difference.

    `runs`: the same file in one or more ways, by a remark that its rows carry ("": none). A static `batch` above 1 is
    filled by rotating through the pictures; a dynamic one (None) runs at 1 and with all together. `runtime`: what runs
    the file, for the record.
    """
    rows = []
    for indices in _batches(len(pictures), batch):
        images = np.concatenate([pictures[index].image for index in indices])
        for remark, run in runs.items():
            outputs = [_as_float32(output) for output in run(images)]
            remarks = [remark, "" if len(indices) == 1 or batch else "batched"]
            suffix = f" ({', '.join(filter(None, remarks))})" if any(remarks) else ""
            for position, index in enumerate(indices):
                found = [output[position] for output in outputs]
                rows.append(_compare(pictures[index].name + suffix, found, pictures[index].expected))
    return Proof(tuple(rows), runtime, limits)


def _batches(count: int, batch: int | None) -> list[list[int]]:
    if batch is None:
        return [*([index] for index in range(count)), list(range(count))]
    return [[(start + offset) % count for offset in range(batch)] for start in range(0, count, batch)]


def _as_float32(output: NDArray[Any]) -> NDArray[Any]:
    return output.astype(np.float32) if output.dtype == np.float16 else output


def _compare(picture: str, found: Outputs, expected: Outputs) -> ProofRow:
    floats = [(f, e) for f, e in zip(found, expected, strict=True) if e.dtype == np.float32]
    relative = max_abs = None
    if floats:
        relative = max(float(np.linalg.norm(f - e) / np.linalg.norm(e)) for f, e in floats)
        max_abs = max(float(np.abs(f - e).max()) for f, e in floats)
    labels, truth = (x if x.dtype == np.uint8 else x.argmax(0) for x in (found[0], expected[0]))
    return ProofRow(picture, relative, max_abs, float((labels == truth).mean()))
