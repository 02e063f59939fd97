"""The ways of label_map: each gives the reference's labels wherever it is taken, and counts alone choose it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.scenes import person_logits
from ce2p_runtime.ops import bilinear, label_map, label_map_cells, label_map_dense, label_map_reference
from ce2p_runtime.ops.bilinear import AxisTaps, affine_taps, blend, blend_rows, resize_taps, widen
from ce2p_runtime.ops.label_map import reference_values
from ce2p_runtime.ops.label_map_border import Border
from ce2p_runtime.ops.label_map_dense import dense_at_once, dense_cost, paint_dense, points_at_once, sparse_cost
from ce2p_runtime.ops.label_map_lattice import InputLattice, Lattice, LogitLattice
from tests.runtime.ops.test_label_map import SHAPES, check_against_reference, noise_logits, turned, unwarp

label_map_module = sys.modules[label_map.__module__]
"""The module; the package shows the function under its name."""
Size = tuple[int, int]
Matrix = NDArray[np.float64]
Floats = NDArray[np.float32]


def smooth_logits(classes: int, size: Size, sigma: float) -> Floats:
    """Noise blurred by `sigma` samples."""
    return np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in noise_logits(classes, size)])


def half_noise(classes: int, size: Size) -> Floats:
    """Noise in the upper half, one class in the lower: a picture with bands of both kinds."""
    logits = noise_logits(classes, size)
    logits[:, size[0] // 2 :] = 0
    logits[1, size[0] // 2 :] = 1
    return logits


class Ways:
    """What label_map took, call by call: "dense" or "border", for the input's labels and the frame's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: list[str] = []

        def dense(*arguments: object) -> None:
            self.taken.append("dense")
            paint_dense(*arguments)  # type: ignore[arg-type]

        def border(lattice: Lattice, cells: NDArray[np.intp]) -> Border:
            self.taken.append("border")
            return Border(lattice, cells)

        monkeypatch.setattr(label_map_cells, "paint_dense", dense)
        monkeypatch.setattr(label_map_cells, "Border", border)


def force(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Take one way, or both in turn from band to band."""
    turns: Iterator[bool] = iter(lambda: True, False)
    if way == "in turn":
        turns = (bool(count % 2) for count in iter(int, 1) for count in (0, 1))
    monkeypatch.setattr(label_map_cells, "dense_at_once", lambda *_: way == "dense")
    monkeypatch.setattr(label_map_cells, "sparse_cost", lambda *_: float(way == "in turn" and next(turns)))
    monkeypatch.setattr(label_map_cells, "dense_cost", lambda *_: 0.5)
    if way == "in turn":
        monkeypatch.setattr(label_map_cells, "CHUNK_FLOATS", 1 << 10)


@pytest.mark.parametrize("way", ["dense", "border", "in turn"])
@pytest.mark.parametrize("kind", ["person", "smooth", "noise", "half"])
@pytest.mark.parametrize(("classes", "low", "size", "frame"), SHAPES)
def test_every_way_is_the_reference(
    classes: int, low: Size, size: Size, frame: Size, kind: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    force(monkeypatch, way)
    logits = {
        "person": lambda: person_logits(classes, low, frame[1] / frame[0]),
        "smooth": lambda: smooth_logits(classes, low, 1.5),
        "noise": lambda: noise_logits(classes, low),
        "half": lambda: half_noise(classes, low),
    }[kind]()
    matrix = unwarp(frame, size)
    flipped = matrix * [[-1], [-1]] + [[0, 0, size[1] - 1], [0, 0, size[0] - 1]]
    far = matrix * 3 - [[0, 0, size[1]], [0, 0, size[0]]]
    for geometry in (None, matrix, flipped, far):
        check_against_reference(logits, geometry, size, frame, True)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("matrix", [None, unwarp((90, 140), (65, 65))])
def test_dense_is_the_reference_to_the_last_tie(
    matrix: Matrix | None, align_corners: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    force(monkeypatch, "dense")
    logits = np.random.default_rng(5).integers(0, 3, (9, 17, 17)).astype(np.float32) * np.float32(0.1)
    arguments = (logits, matrix, (65, 65), (90, 140))
    expected = label_map_reference(*arguments, align_corners=align_corners)
    np.testing.assert_array_equal(label_map(*arguments, align_corners=align_corners), expected)


@pytest.mark.parametrize("frame", [(270, 480), (1080, 1920)])
@pytest.mark.parametrize("geometry", ["affine", "resize"])
def test_people_need_borders_only_and_noise_everything(
    geometry: str, frame: Size, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways, matrix = Ways(monkeypatch), None if geometry == "resize" else unwarp(frame, (473, 473))
    label_map(person_logits(20, (119, 119), 16 / 9), matrix, (473, 473), frame, align_corners=True)
    assert set(ways.taken) == {"border"}
    ways.taken.clear()
    label_map(noise_logits(20, (119, 119)), matrix, (473, 473), frame, align_corners=True)
    assert set(ways.taken) == {"dense"}


def test_bands_of_one_picture_go_their_own_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = person_logits(20, (119, 119), 1.0)
    logits[:, 80:] = noise_logits(20, (39, 119)) * 5
    monkeypatch.setattr(label_map_cells, "CHUNK_FLOATS", 1 << 16)
    ways = Ways(monkeypatch)
    check_against_reference(logits, None, (473, 473), (600, 600), True)
    assert set(ways.taken) == {"border", "dense"}


def test_few_places_are_painted_without_a_look_at_the_whole_network(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = Ways(monkeypatch)
    check_against_reference(person_logits(20, (119, 119)), None, (473, 473), (12, 16), True)
    assert ways.taken == ["dense"]


@pytest.mark.parametrize("kind", ["person", "noise"])
@pytest.mark.parametrize("degrees", [25.0, 90.0])
def test_turned_frames_in_many_chunks(kind: str, degrees: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_map_cells, "CHUNK_FLOATS", 1 << 10)
    logits = person_logits(20, (26, 29)) if kind == "person" else noise_logits(20, (26, 29))
    matrix = turned(unwarp((140, 211), (101, 113)), (101, 113), degrees)
    check_against_reference(logits, matrix, (101, 113), (140, 211), True)


@pytest.mark.parametrize("classes", [1, 2, 9])
@pytest.mark.parametrize("degrees", [25.0, 90.0])
def test_turned_frames_are_dense_to_the_last_tie(classes: int, degrees: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places all around the input, whose closing zeros meet the next class's row in memory."""
    monkeypatch.setattr(label_map_module, "points_at_once", lambda *_: True)
    monkeypatch.setattr(label_map_dense, "_PLACES", 1000)
    low, size, frame = (17, 19), (65, 73), (140, 211)
    ties = np.random.default_rng(5).integers(-1, 3, (classes, *low)).astype(np.float32) * np.float32(0.1)
    matrix = turned(unwarp(frame, size), size, degrees, 1.3)
    for logits in (ties, noise_logits(classes, low), noise_logits(classes, low) - 9):
        for align_corners in (True, False):
            expected = label_map_reference(logits, matrix, size, frame, align_corners=align_corners)
            np.testing.assert_array_equal(label_map(logits, matrix, size, frame, align_corners=align_corners), expected)


@pytest.mark.parametrize(
    ("kind", "classes", "dense"), [("person", 20, False), ("noise", 20, True), ("noise", 80, False)]
)
def test_turned_frames_are_dense_where_all_is_border_and_memory_allows(kind: str, classes: int, dense: bool) -> None:
    """80 classes of 475x475 points are more than may be held at once."""
    logits = person_logits(classes, (119, 119)) if kind == "person" else noise_logits(classes, (119, 119))
    taps = resize_taps(119, 473, True)
    source = LogitLattice(logits)
    lattice = InputLattice(source, taps, taps, lambda: np.zeros((473, 473), np.uint8))
    assert points_at_once(lattice, 480 * 640) == dense


def test_the_rule_counts() -> None:
    """More border speaks for dense, more rows and columns against it."""
    band = (20, (90, 475), (360, 1920))
    assert sparse_cost(20, 500, 8_000) < dense_cost(*band) < sparse_cost(20, 40_000, 650_000)
    assert dense_cost(*band) < dense_cost(20, (90, 475), (361, 1920)) < dense_cost(21, (90, 475), (361, 1920))


def test_what_is_expected_of_an_input_is_read_off_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether to paint at once is decided without the labels of the input, which cost most of what is to be saved."""

    def unasked() -> NDArray[np.uint8]:
        raise AssertionError("labels were asked for")

    taps, frame = resize_taps(119, 473, True), affine_taps(np.arange(480, dtype=np.float64) * 0.98, 0, 472)
    people, noise = (
        InputLattice(LogitLattice(logits), taps, taps, unasked)
        for logits in (person_logits(20, (119, 119)), noise_logits(20, (119, 119)))
    )
    assert 0 < people.expected_border < 0.1 < noise.expected_border < 0.5
    assert dense_at_once(noise, frame, frame)
    assert not dense_at_once(people, frame, frame)


@pytest.mark.parametrize("sources", [1, 2, 9])
@pytest.mark.parametrize("targets", [1, 5, 40])
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("long_row", [1, 1 << 20])
def test_rows_and_columns_are_blended_bit_by_bit(
    sources: int, targets: int, align_corners: bool, long_row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row by row and by blocks of rows, several of them."""
    monkeypatch.setattr(bilinear, "_LONG_ROW", long_row)
    monkeypatch.setattr(bilinear, "_BLOCK_FLOATS", 150)
    values, taps = noise_logits(7, (sources, sources)), resize_taps(sources, targets, align_corners)
    expected = blend(values[..., taps.low], values[..., taps.high], taps.weight)
    np.testing.assert_array_equal(widen(values, taps), expected)
    stacked, weight = values.transpose(1, 0, 2), taps.weight[:, np.newaxis, np.newaxis]
    rows = np.concatenate([part.copy() for _, part in blend_rows(stacked, taps)])
    np.testing.assert_array_equal(rows, blend(stacked[taps.low], stacked[taps.high], weight))


def test_taps_into_what_is_read_only() -> None:
    taps = AxisTaps(np.array([7, 2, 2]), np.array([8, 3, 2]), np.array([0.5, 0.25, 0], np.float32))
    used, compact = taps.compact()
    assert used.tolist() == [2, 3, 7, 8]
    assert (compact.low.tolist(), compact.high.tolist()) == ([2, 0, 0], [3, 1, 0])


@pytest.mark.parametrize("classes", [2, 5, 20, 256])
def test_no_class_that_wins_inside_a_cell_is_lost(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corners one apart and a fine frame: many classes win inside one cell, with few distinct values for ties."""
    force(monkeypatch, "border")
    rng = np.random.default_rng(classes)
    for logits in (rng.standard_normal((classes, 3, 4)), rng.integers(0, 4, (classes, 3, 4)) * 0.1):
        values = logits.astype(np.float32)
        labels = label_map(values, None, (3, 4), (64, 96), align_corners=True)
        for rows, exact in reference_values(values, None, (3, 4), (64, 96), True):
            chosen = np.take_along_axis(exact, labels[rows].astype(np.intp)[np.newaxis], axis=0)[0]
            np.testing.assert_array_equal(chosen, exact.max(axis=0))
