"""Which people are parsed, and reading them from files: masks decoded by hand, and what is wrong said in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask

from ce2p_runtime import MediaError
from ce2p_runtime.media.png import read_index_png
from ce2p_runtime.people import Person, mask_nms, open_instances, people_of_ids, select_people
from ce2p_runtime.people.coco_masks import decode_counts, polygon_mask, run_length_mask, segmentation_mask
from ce2p_runtime.people.instances import crop_box, person_mask

L_SHAPE = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]], np.bool_)


def person(mask: NDArray[np.bool_] | None, score: float = 1.0) -> Person:
    return Person((0, 0, 2, 2), mask, score)


# Boxes and choice


def test_boxes_are_enlarged_about_their_centre_clipped_and_truncated() -> None:
    assert crop_box((10, 20, 20, 40), (100, 100)) == (9, 18, 21, 42)
    assert crop_box((1, 2, 11, 12), (12, 11), 1.2) == (0, 1, 11, 12)
    assert crop_box((10.9, 20.9, 15.1, 25.1), (100, 100), 1.0) == (10, 20, 15, 25)
    assert crop_box((3.1, 3.1, 3.3, 3.3), (9, 9)) == (3, 3, 4, 4)  # smaller than a pixel
    assert crop_box((8.7, 8.7, 30, 30), (9, 9), 1.0) == (8, 8, 9, 9)
    with pytest.raises(ValueError, match="outside the 9x5 picture"):
        crop_box((10, 1, 12, 3), (5, 9))


def test_people_are_chosen_by_score_and_ordered_by_area() -> None:
    small, large = np.zeros((4, 4), np.bool_), np.ones((4, 4), np.bool_)
    small[0, 0] = True
    people = [person(small, 0.9), person(large, 0.69), person(large, 0.7), person(None, 0.8)]
    assert [p.score for p in select_people(people)] == [0.7, 0.8, 0.9]  # 16, 4 (the box) and 1 pixels
    assert [p.score for p in select_people(people, 0.0)] == [0.69, 0.7, 0.8, 0.9]


def test_mask_nms_gives_pixels_to_the_higher_score_and_drops_the_covered() -> None:
    def columns(first: int, last: int) -> NDArray[np.bool_]:
        return ((np.arange(10) >= first) & (np.arange(10) < last))[np.newaxis]

    best, half, most = columns(0, 4), columns(2, 6), columns(0, 7)
    kept = mask_nms([person(half, 0.8), person(best, 0.9), person(most, 0.7), person(columns(8, 9), 0.49)])
    assert [p.score for p in kept] == [0.9, 0.8]  # `most`: 6 of 7 pixels taken; half of `half` is not more than half
    np.testing.assert_array_equal(np.asarray(kept[1].mask), columns(4, 6))
    assert len(mask_nms([person(best, 0.9), person(np.zeros((1, 10), np.bool_), 0.8)])) == 1
    with pytest.raises(ValueError, match="a mask for every person"):
        mask_nms([person(None)])


def test_without_a_mask_the_pixels_with_their_centre_in_the_box_are_taken() -> None:
    mask = person_mask(Person((0.6, 0, 2.4, 1.5), None, 1), (3, 4))
    np.testing.assert_array_equal(mask, [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    with pytest.raises(ValueError, match=r"mask is \[3, 4\], the picture is \[4, 3\]"):
        person_mask(person(L_SHAPE), (4, 3))


@pytest.mark.parametrize("box", [(0, 0, 0, 1), (0, 2, 1, 1), (0, 0, float("nan"), 1)])
def test_a_box_without_area_is_no_person(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="expected x0 < x1"):
        Person(box, None, 1.0)


def test_people_of_an_id_map_have_tight_boxes() -> None:
    ids = np.zeros((5, 6), np.uint16)
    ids[1:3, 2:6] = 300
    ids[4, 0] = 7
    people = people_of_ids(ids)
    assert [p.box for p in people] == [(0, 4, 1, 5), (2, 1, 6, 3)]
    assert [p.score for p in people] == [1, 1]
    np.testing.assert_array_equal(np.asarray(people[1].mask), ids == 300)


# COCO's masks


def test_run_lengths_count_down_the_columns() -> None:
    np.testing.assert_array_equal(run_length_mask([0, 3, 2, 1, 2, 1, 3], (3, 4)), L_SHAPE)
    for counts in ([3, 3], [5, -1, 8]):
        with pytest.raises(ValueError, match="expected 12 pixels"):
            run_length_mask(counts, (3, 4))


def test_compressed_run_lengths() -> None:
    # 0, 3, 2 stand as they are; from the fourth on (counted from 1: 1, 2, 1, 3) each is the difference to two before:
    # 1-3 = -2, 2-2 = 0, 1-1 = 0, 3-2 = 1. One group each: 48 + (value & 31).
    text = "".join(chr(48 + (value & 31)) for value in (0, 3, 2, -2, 0, 0, 1))
    assert text == "032N001"
    assert decode_counts(text) == [0, 3, 2, 1, 2, 1, 3]
    np.testing.assert_array_equal(segmentation_mask({"size": [3, 4], "counts": text}, (3, 4)), L_SHAPE)
    # 1000 = 0b11111_01000: the low group 8 with the flag for more (48 + 8 + 32), the high one 31, whose bit 4 would be
    # a sign, so a third group 0 follows: 48 + 31 + 32, 48.
    assert decode_counts(chr(88) + chr(111) + chr(48)) == [1000]
    with pytest.raises(ValueError, match="none of their characters"):
        decode_counts("0 3")
    with pytest.raises(ValueError, match="end within a number"):
        decode_counts("0X")


def test_compressed_run_lengths_are_read_as_pycocotools_writes_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = [int(n) for n in rng.integers(0, 10 ** int(rng.integers(1, 7)), int(rng.integers(1, 12)))]
        written = mask.frPyObjects([{"size": [sum(counts), 1], "counts": counts}], sum(counts), 1)
        assert decode_counts(written[0]["counts"].decode()) == counts


def test_polygons_take_pixels_by_their_centres() -> None:
    np.testing.assert_array_equal(polygon_mask([0, 0, 1, 0, 1, 2, 3, 2, 3, 3, 0, 3], (3, 4)), L_SHAPE)
    whole = polygon_mask([-5, -5, 20, -5, 20, 20, -5, 20], (3, 4))
    assert whole.all()
    # Even-odd: a ring as one polygon that turns round inside.
    ring = polygon_mask([0, 0, 4, 0, 4, 4, 0, 4, 0, 0, 1, 1, 1, 3, 3, 3, 3, 1, 1, 1], (4, 4))
    np.testing.assert_array_equal(ring, np.pad(np.zeros((2, 2), np.bool_), 1, constant_values=True))
    for bad in ([0, 0, 1, 1], [0, 0, 1, 1, 2], [0, 0, 1, 1, float("nan"), 2]):
        with pytest.raises(ValueError, match="3 pairs of finite numbers"):
            polygon_mask(bad, (4, 4))


@pytest.mark.parametrize("far", [1e300, -1e300, 1e9, -2e6])
def test_polygons_that_pycocotools_would_crash_on_are_refused(far: float) -> None:
    """1e300 ends the process there: it becomes an integer of C."""
    for polygon in ([0, 0, far, 0, 4, 4], [far, far, far, far + 1, far, far + 2]):
        with pytest.raises(ValueError, match="expected at most 1,000,000"):
            polygon_mask(polygon, (4, 4))


def test_several_polygons_are_one_mask() -> None:
    both = segmentation_mask([[0, 0, 1, 0, 1, 3, 0, 3], [1, 2, 3, 2, 3, 3, 1, 3]], (3, 4))
    np.testing.assert_array_equal(both, L_SHAPE)


# Files


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_a_json_of_detections(tmp_path: Path) -> None:
    entries = [
        {"image": "b/street.jpg", "bbox": [0, 0, 3, 3], "score": 0.9, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
        {"image": "street.png", "bbox": [1, 0.5, 2, 1], "score": 0.4, "category_id": 1},
        {"image": "other", "segmentation": {"size": [3, 4], "counts": [0, 3, 2, 1, 2, 1, 3]}},
        {"image": "street.jpg", "bbox": [0, 0, 1, 1], "category_id": 3},
    ]
    instances = open_instances(write(tmp_path / "people.json", entries))
    assert instances.names() == {"street", "other"}
    assert instances.left_out == 1
    street = instances.people("street", (3, 4))
    assert street is not None
    assert [(p.box, p.score) for p in street] == [((0, 0, 3, 3), 0.9), ((1, 0.5, 3, 1.5), 0.4)]
    assert np.count_nonzero(np.asarray(street[0].mask)) == 4
    assert street[1].mask is None
    other = instances.people("other", (3, 4))
    assert other is not None
    assert (other[0].box, other[0].score) == ((0, 0, 3, 3), 1)  # around the mask
    assert instances.people("nobody", (3, 4)) is None


def test_cocos_annotation_form(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 7, "file_name": "0000007.jpg"}, {"id": 8, "file_name": "0000008.jpg"}],
        "annotations": [{"image_id": 7, "bbox": [0, 0, 2, 2], "category_id": 1}],
    }
    instances = open_instances(write(tmp_path / "people.json", document))
    found = instances.people("0000007", (3, 4))
    assert found is not None
    assert len(found) == 1
    assert instances.people("0000008", (3, 4)) == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"people": []}, "holds no list of people"),
        ([7], "entry 0: is 7, expected an object"),
        ([{"bbox": [0, 0, 1, 1]}], "entry 0: does not name its picture"),
        ([{"image_id": 3, "bbox": [0, 0, 1, 1]}], "entry 0: does not name its picture"),
        ([{"image": "a"}], "entry 0: has neither bbox nor segmentation"),
        ([{"image": "a", "bbox": [0, 0, 1]}], "expected [x, y, width, height]"),
        ([{"image": "a", "bbox": [0, 0, 0, 1]}], "a width and a height above 0"),
        ([{"image": "a", "bbox": [0, 0, 1, 1], "score": "high"}], "its score is 'high'"),
        ({"images": [{"id": 1}], "annotations": []}, "expected id and file_name"),
        (
            {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 2, "bbox": [0, 0, 1, 1]}]},
            "its image_id is 2, which is not among the file's images",
        ),
    ],
)
def test_a_json_of_something_else_is_refused_when_opened(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(MediaError) as error:
        open_instances(write(tmp_path / "people.json", document))
    assert message in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'people.json'}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"bbox": [9, 0, 2, 2]}, "outside the 4x3 picture"),
        ({"segmentation": {"size": [4, 3], "counts": [12]}}, "run lengths are for size [4, 3], the picture is [3, 4]"),
        ({"segmentation": {"size": [3, 4], "counts": [1.5]}}, "no `counts`"),
        ({"segmentation": "all"}, "neither polygons"),
        ({"segmentation": {"size": [3, 4], "counts": [12]}}, "is empty and it has no bbox"),
    ],
)
def test_an_entry_that_does_not_fit_its_picture_is_named(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    instances = open_instances(write(tmp_path / "people.json", [{"image": "a", **entry}]))
    with pytest.raises(MediaError) as error:
        instances.people("a", (3, 4))
    assert message in str(error.value)
    assert "people.json: entry 0 (of a): " in str(error.value)


def test_a_folder_of_ids(tmp_path: Path) -> None:
    ids = np.zeros((3, 4), np.uint8)
    ids[0, :2], ids[2, 3] = 1, 2
    Image.fromarray(ids).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "b.png")
    instances = open_instances(tmp_path)
    assert instances.names() == {"a", "b"}
    found = instances.people("a", (3, 4))
    assert found is not None
    assert [p.box for p in found] == [(0, 0, 2, 1), (3, 2, 4, 3)]
    assert instances.people("b", (3, 4)) == []
    assert instances.people("c", (3, 4)) is None
    with pytest.raises(MediaError, match=r"a\.png: has 4x3 pixels, its picture 3x4"):
        instances.people("a", (4, 3))


def test_places_without_instances_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no PNG in this folder"):
        open_instances(tmp_path)
    with pytest.raises(MediaError, match="no such file"):
        open_instances(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("[")
    with pytest.raises(MediaError, match="not readable as JSON"):
        open_instances(tmp_path / "text.json")


# PNGs of numbers


@pytest.mark.parametrize("colours", [256, 16, 4, 2])
def test_palette_pngs_give_their_indices_at_every_depth(tmp_path: Path, colours: int) -> None:
    values = np.random.default_rng(colours).integers(0, colours, (7, 13), dtype=np.uint8)
    picture = Image.fromarray(values)
    picture.putpalette(list(np.random.default_rng(1).integers(0, 256, 3 * colours)))
    picture.save(tmp_path / "palette.png", bits=colours.bit_length() - 1, transparency=0)
    np.testing.assert_array_equal(read_index_png(tmp_path / "palette.png"), values)


def test_gray_pngs_give_their_values(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 60000, (7, 13)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = read_index_png(tmp_path / "deep.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values)
    Image.fromarray(values % 2 == 0).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_index_png(tmp_path / "bits.png"), values % 2 == 0)


def test_other_pictures_are_no_ids(tmp_path: Path) -> None:
    colours = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    colours.save(tmp_path / "rgb.png")
    colours.save(tmp_path / "picture.jpg")
    with pytest.raises(MediaError, match=r"rgb\.png: its pixels are RGB"):
        read_index_png(tmp_path / "rgb.png")
    with pytest.raises(MediaError, match="is no PNG"):
        read_index_png(tmp_path / "picture.jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)).save(tmp_path / "half.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:900])
    with pytest.raises(MediaError, match="cut short or damaged"):
        read_index_png(tmp_path / "half.png")
