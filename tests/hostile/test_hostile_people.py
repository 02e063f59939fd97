"""Files that say who is where, made to deceive: people or one line, for little time and memory."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ce2p_runtime import MediaError
from ce2p_runtime.media.png import write_png
from ce2p_runtime.people import open_instances, people_of_ids
from ce2p_runtime.people.coco_masks import decode_counts, segmentation_mask
from ce2p_runtime.people.result_files import read_people
from tests.hostile.isolated import run_isolated
from tests.hostile.mutations import mutations

SIZE = (160, 192)
PEOPLE: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": "x", "file_name": "b.jpg"}],
    "annotations": [
        {"image_id": 7, "bbox": [5, 5, 50.5, 80], "score": 0.9, "category_id": 1},
        {"image_id": 7, "bbox": [5, 5, 50, 80], "segmentation": [[5, 5, 55, 5, 55, 85, 5, 85]]},
        {"image_id": "x", "segmentation": {"size": [160, 192], "counts": [100, 30000, 620]}},
        {"image_id": "x", "segmentation": {"size": [160, 192], "counts": "T3`YLd4"}, "bbox": [0, 0, 9, 9]},
    ],
}
_ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1e300,
    2**63,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x1b[2J",
    "\ud800",
    {},
    {"a": 1},
    [],
    [[]],
    [7],
    [[7]],
    [[1, 2, 3, 4, 5, None]],
    [[0, 0, 1e300, 0, 1, -1e300]],
    {"size": [160, 192], "counts": None},
    {"size": [160, 192], "counts": [10**30]},
    {"size": [160, 192], "counts": [-5, 30725]},
    {"size": [160, 192], "counts": "z" * 3000},
]


def look(path: Path) -> int:
    """Open people and take those of every picture; how many there were."""
    instances = open_instances(path)
    return sum(len(instances.people(name, SIZE) or []) for name in sorted(instances.names()))


def places(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if way:
        yield way
    if isinstance(node, (dict, list)):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield from places(node[key], (*way, key))


def unacceptable(path: Path, contents: list[tuple[str, bytes]]) -> list[str]:
    def cases() -> Iterator[Path]:
        for _, content in contents:
            path.write_bytes(content)
            yield path

    found = []
    for (name, _), outcome in zip(contents, run_isolated(look, cases(), memory=2**32), strict=True):
        text = str(outcome.value)
        one_line = outcome.kind == "refused" and "\n" not in text and text.startswith(f"{path}: ") and len(text) < 1000
        if not (outcome.kind == "returned" or one_line) or outcome.peak > 2**29:
            found.append(f"{name}: {outcome.kind}, {outcome.peak >> 20} MiB: {text[-800:]}")
    return found


def test_no_value_of_a_json_of_people_is_believed(tmp_path: Path, fuzz_seed: int) -> None:
    draw = random.Random(fuzz_seed)  # noqa: S311  (repeatable, not secret)
    contents = [("as written", json.dumps(PEOPLE).encode())]
    for way in places(PEOPLE):
        for value in draw.sample(_ODD, 6):
            document = copy.deepcopy(PEOPLE)
            node: Any = document
            for key in way[:-1]:
                node = node[key]
            node[way[-1]] = value
            contents.append((f"{way} is {value!r:.60}", json.dumps(document).encode()))
    assert unacceptable(tmp_path / "people.json", contents) == []


def test_damaged_jsons_and_id_pictures_are_people_or_one_line(tmp_path: Path, fuzz_seed: int, fuzz_count: int) -> None:
    text = json.dumps(PEOPLE).encode()
    assert unacceptable(tmp_path / "people.json", list(mutations(text, fuzz_seed, fuzz_count))) == []


def as_json(segmentation: Any, people: int = 1) -> bytes:
    return json.dumps([{"image": "a", "segmentation": segmentation}] * people).encode()


COSTLY: dict[str, bytes] = {
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "a number of a megabyte": b'[{"image": "a", "bbox": [0, 0, 1, ' + b"9" * 2**20 + b"]}]",
    "ids that are lists": b'{"images": [{"id": [1], "file_name": "a"}], "annotations": []}',
    "image ids that are objects": b'{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": {}}]}',
    "images that are a number": b'{"images": 7, "annotations": []}',
    "a run length of a megabyte": as_json({"size": SIZE, "counts": "o" * 2**20}),
    "a mask of 100,000 polygons": as_json([[0, 0, 1, 0, 1, 1]] * 100_000),
    "a polygon whose outline is 20 million pixels": as_json([[0, 0, 9, 4000] * 2_500]),
    "a polygon of 100,000 points": as_json([[0, 0, 9, 160] * 50_000]),
    "300 people": json.dumps([{"image": "a", "bbox": [0, 0, 9, 9]}] * 300).encode(),
    "100,000 masks": as_json([[0, 0, 9, 0, 9, 9]], people=100_000),
}


def test_what_would_cost_minutes_or_gigabytes_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.json" for name in COSTLY]
    for path, content in zip(paths, COSTLY.values(), strict=True):
        path.write_bytes(content)
    for outcome in run_isolated(look, paths):
        assert outcome.kind == "refused", outcome
        assert str(outcome.value).startswith(f"{outcome.case}: ")
        assert len(str(outcome.value)) < 500
        assert outcome.peak < 2**29


def test_low_scores_cost_nothing_and_do_not_count(tmp_path: Path) -> None:
    entries = [{"image": "a", "score": 0.1, "segmentation": [[0, 0, 9, 0, 9, 9]]}] * 1000
    entries += [{"image": "a", "score": 0.9, "bbox": [0, 0, 9, 9]}]
    (tmp_path / "people.json").write_text(json.dumps(entries))
    instances = open_instances(tmp_path / "people.json")
    people = instances.people("a", (4000, 4000), 0.7)
    assert [person.score for person in people or []] == [0.9]
    assert instances.below("a", 0.7) == 1000
    with pytest.raises(MediaError, match="a: 1001 people in one picture, expected at most 255"):
        instances.people("a", (4000, 4000))


def test_masks_that_would_fill_the_memory_are_refused_before_one_is_made(tmp_path: Path) -> None:
    entries = [{"image": "a", "segmentation": [[0, 0, 9, 0, 9, 9]]}] * 100
    (tmp_path / "people.json").write_text(json.dumps(entries))
    with pytest.raises(MediaError, match=r"a: the masks of 100 people in 8000x6000 pixels take 4\.5 GiB"):
        open_instances(tmp_path / "people.json").people("a", (6000, 8000))


def test_an_id_picture_of_thirty_thousand_people_is_refused(tmp_path: Path) -> None:
    ids = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE)
    cv2.imwrite(str(tmp_path / "a.png"), ids)
    (outcome,) = run_isolated(look, [tmp_path])
    assert outcome.kind == "refused"
    assert outcome.value.startswith(f"{tmp_path / 'a.png'}: 30719 people in one picture, expected at most 255")
    assert outcome.peak < 2**29
    with pytest.raises(ValueError, match="30719 people"):
        people_of_ids(ids)


def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "people.json")
    (tmp_path / "ids").mkdir()
    os.mkfifo(tmp_path / "ids/a.png")
    (tmp_path / "ids/b.png").symlink_to("/dev/zero")
    for outcome in run_isolated(look, [tmp_path / "people.json", tmp_path / "ids"]):
        assert outcome.kind == "refused"


def test_run_lengths_are_read_as_before() -> None:
    assert decode_counts("0") == [0]
    assert decode_counts("o0") == [31]
    with pytest.raises(ValueError, match="a number that no picture has pixels for"):
        decode_counts("o" * 13 + "0")
    with pytest.raises(ValueError, match="add up to"):
        segmentation_mask({"size": [3, 4], "counts": [2**62, 2**62]}, (3, 4))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.txt", "a 1 nan\n"),
        ("results.txt", "a 1 1e999\n"),
        ("results.txt", "a x y\n"),
        ("results.txt", "a 2 1\n"),
        ("results.txt", "\0\n"),
        ("instance_parsing/a.txt", "1\n"),
        ("instance_parsing/a.txt", "-1 0.5\n"),
        ("instance_parsing/a.txt", "300 0.5\n"),
        ("instance_parsing/a.txt", "1 inf\n"),
        ("instance_parsing/a.txt", ""),
    ],
)
def test_stored_results_that_were_changed_are_one_line(tmp_path: Path, name: str, content: str) -> None:
    for kind in ("global_parsing", "instance_parsing", "global_tag"):
        write_png(tmp_path / kind / "a.png", np.eye(4, dtype=np.uint8))
    (tmp_path / "instance_parsing/a.txt").write_text("1 0.5\n")
    (tmp_path / "results.txt").write_text("a 1 0.9\n")
    assert read_people(tmp_path, "a").part_scores == ((1, 0.5),)
    (tmp_path / name).write_text(content)
    with pytest.raises(MediaError) as caught:
        read_people(tmp_path, "a")
    assert "\n" not in str(caught.value)
