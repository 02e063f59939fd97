"""Logits as numbers: batches are full, every way of running a file is judged, and what is no number fails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime.judge import LogitPicture, Proof, ProofRow, judge_logits
from ce2p_runtime.judge.allowance import HOPELESS
from ce2p_runtime.precisions import LogitLimits

Array = NDArray[np.float32]
LIMITS = LogitLimits(1e-2, 0.9)
RNG = np.random.default_rng(0)
PICTURES = [
    LogitPicture(name, image, [image[0] * 2])
    for name, image in ((name, RNG.normal(0, 1, (1, 4, 8, 8)).astype(np.float32)) for name in ("a", "b", "c"))
]


def doubled(batch: Array) -> list[Array]:
    return [batch * 2]


@pytest.mark.parametrize(
    ("batch", "sizes", "names"),
    [
        (1, [1, 1, 1], ["a", "b", "c"]),
        (2, [2, 2], ["a", "b", "c", "a"]),
        (None, [1, 1, 1, 3], ["a", "b", "c", "a (batched)", "b (batched)", "c (batched)"]),
    ],
)
def test_batches_are_full(batch: int | None, sizes: list[int], names: list[str]) -> None:
    seen: list[int] = []

    def run(images: Array) -> list[Array]:
        seen.append(len(images))
        return doubled(images)

    proof = judge_logits(PICTURES, {"": run}, LIMITS, batch=batch, runtime="NumPy")
    assert seen == sizes
    assert [row.picture for row in proof.rows] == names
    assert proof.passed
    assert proof.used == 0
    assert proof.to_dict()["runtime"] == "NumPy"


def test_every_way_of_running_it_is_judged() -> None:
    rounded = lambda batch: [(batch * 2).astype(np.float16)]  # noqa: E731
    proof = judge_logits(PICTURES[:1], {"": doubled, "rounded": rounded}, LIMITS, batch=1, runtime="NumPy")
    assert [row.picture for row in proof.rows] == ["a", "a (rounded)"]
    exact, coarse = (row.relative_l2 for row in proof.rows)
    assert exact == 0
    assert coarse is not None
    assert 1e-5 < coarse < 1e-3
    assert proof.used == pytest.approx(coarse / LIMITS.relative_l2)


def test_a_file_of_labels_is_judged_by_its_labels() -> None:
    labels = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4
    wrong = labels.copy()
    wrong[0] += 1
    picture = LogitPicture("a", PICTURES[0].image, [labels])
    proof = judge_logits([picture], {"": lambda batch: [wrong[None]]}, LIMITS, batch=1, runtime="NumPy")
    assert proof.rows == (ProofRow("a", None, None, 56 / 64),)
    assert proof.failure == "pixel agreement on a is 87.5 %, expected at least 90 %"
    assert proof.used == pytest.approx(1.25)


def test_what_is_no_number_fails() -> None:
    proof = Proof((ProofRow("a", math.nan, 0.0, 1.0),), "NumPy", LIMITS)
    assert not proof.passed
    assert proof.failure == "relative L2 on a is nan, expected at most 1e-02"
    assert proof.used == HOPELESS
