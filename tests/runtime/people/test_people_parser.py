"""The whole way from frame and people to parts, with networks that know the truth."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p.synthetic import annotated_at
from ce2p_runtime import MediaError, ModelFileError
from ce2p_runtime.model_files.metadata import Geometry
from ce2p_runtime.people import PeopleParser, PeopleResult, PeopleWriter, Person, people_of_ids, read_people
from tests.runtime.people.oracle import AFFINE, RESIZE, Fixed, Oracle, map_of_places, metadata

SIZE = (160, 220)


def truth(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Classes, people and parts of a synthetic picture with several people."""
    sample = annotated_at("cihp", 3, index, SIZE)
    assert sample.humans is not None
    assert sample.instances is not None
    return sample.labels, sample.humans, sample.instances


def same_partition(found: NDArray[np.uint16], expected: NDArray[np.uint8]) -> float:
    """Share of pixels that agree when each true id is given the found id that it shows most."""
    agree = 0
    for number in np.unique(expected):
        ids, counts = np.unique(found[expected == number], return_counts=True)
        agree += int(counts[ids == 0].sum()) if number == 0 else int(np.where(ids == 0, 0, counts).max())
    return agree / expected.size


@pytest.mark.parametrize("geometry", [RESIZE, AFFINE], ids=["resize", "affine"])
@pytest.mark.parametrize("index", range(3))
def test_networks_that_know_the_truth_give_it_back(geometry: Geometry, index: int) -> None:
    labels, humans, instances = truth(index)
    people = people_of_ids(humans)
    assert len(people) >= 2
    facts = metadata((193, 193), geometry)
    parser = PeopleParser(Oracle(labels, facts), [Oracle(labels, facts), Oracle(labels, facts, batch=2)], batch=3)
    result = parser(map_of_places(*SIZE), people)
    # What is lost are outlines, which the resize to the input and back moves by up to a pixel.
    assert np.mean(result.labels == labels) > 0.98
    assert same_partition(result.parts, instances) > 0.98
    assert np.mean(result.humans == humans_by_area(humans)) > 0.995
    true_parts = {(int(labels[instances == n][0]), int(humans[instances == n][0])) for n in np.unique(instances) if n}
    order = number_by_area(humans)
    large = {(c, order[p]) for c, p in true_parts if np.count_nonzero((labels == c) & (humans == p)) > 40}
    assert large <= {(part.class_id, part.person) for part in result.part_instances}
    for part in result.part_instances:
        inside = result.parts == part.id
        assert (result.labels[inside] == part.class_id).all()
        assert 5 < part.score <= 30  # three networks that say 10, less along outlines


def number_by_area(humans: NDArray[np.uint8]) -> dict[int, int]:
    ids, areas = np.unique(humans[humans > 0], return_counts=True)
    return {int(n): rank for rank, n in enumerate(ids[np.argsort(-areas, kind="stable")], start=1)}


def humans_by_area(humans: NDArray[np.uint8]) -> NDArray[np.uint16]:
    numbered = np.zeros(humans.shape, np.uint16)
    for number, rank in number_by_area(humans).items():
        numbered[humans == number] = rank
    return numbered


def test_refinement_gives_back_what_the_masks_left_out() -> None:
    labels, humans, instances = truth(1)
    people = people_of_ids(humans)
    halved = []
    for person in people:  # every other column is missing
        mask = np.array(person.mask)
        mask[:, ::2] = False
        halved.append(Person(person.box, mask, 0.9))
    facts = metadata((193, 193))
    networks = Oracle(labels, facts), [Oracle(labels, facts)]
    grown = PeopleParser(*networks)(map_of_places(*SIZE), halved)
    plain = PeopleParser(*networks, grow=False)(map_of_places(*SIZE), halved)
    assert same_partition(grown.parts, instances) > 0.98
    assert np.count_nonzero(plain.parts) < 0.55 * np.count_nonzero(grown.parts)
    assert np.count_nonzero(plain.humans) == np.count_nonzero(sum(np.asarray(p.mask) for p in halved))
    assert np.count_nonzero(grown.humans) > 1.8 * np.count_nonzero(plain.humans)
    for number, person in enumerate(grown.people, start=1):
        assert not ((grown.humans == number) & ~np.asarray(person.mask)).any()  # the people come with their new masks


def test_people_are_numbered_by_what_they_have_grown_to() -> None:
    facts = metadata((4, 4), classes=3)
    logits = np.zeros((3, 4, 10), np.float32)
    logits[1, :, :4], logits[2, :, 4:] = 5, 7
    wide = Person((0, 0, 4, 4), np.repeat([[True] * 4 + [False] * 6], 4, axis=0), 0.75)  # 16 pixels, all of class 1
    hidden = Person((4, 0, 10, 4), np.repeat([[False] * 4 + [True] * 2 + [False] * 4], 4, axis=0), 0.5)  # 8 of 24
    network = Fixed(dataclasses.replace(facts, input_size=(4, 10)), logits)
    result = PeopleParser(network)(np.zeros((4, 10, 3), np.uint8), [wide, hidden])
    assert [(p.score, p.area) for p in result.people] == [(0.5, 24), (0.75, 16)]
    np.testing.assert_array_equal(result.humans, [[2] * 4 + [1] * 6] * 4)
    # Parts keep the order in which they were cut, the larger mask first.
    assert [(p.id, p.class_id, p.person, p.score) for p in result.part_instances] == [(1, 1, 2, 5.0), (2, 2, 1, 7.0)]


def small() -> tuple[PeopleParser, NDArray[np.uint8]]:
    """One local network that says class 1 to its first crop and class 2 to its second, on a 6x8 frame."""
    facts = metadata((4, 4), classes=3)
    logits = [np.zeros((3, 2, 2), np.float32) for _ in range(2)]
    logits[0][1], logits[1][2] = 4, 8
    return PeopleParser(None, [Fixed(facts, *logits)], enlarge=1.0), np.zeros((6, 8, 3), np.uint8)


def test_people_come_largest_first_and_scores_stay_with_them() -> None:
    parser, frame = small()
    tiny = Person((6, 0, 8, 2), np.pad(np.ones((2, 2), np.bool_), ((0, 4), (6, 0))), 0.8)
    broad = Person((0, 0, 4, 6), np.pad(np.ones((6, 4), np.bool_), ((0, 0), (0, 4))), 0.7)
    result = parser(frame, [tiny, broad])  # the larger one is parsed first: it gets class 1
    assert [p.score for p in result.people] == [0.7, 0.8]
    assert [(p.id, p.class_id, p.person, p.score) for p in result.part_instances] == [(1, 1, 1, 4.0), (2, 2, 2, 8.0)]
    expected = np.zeros((6, 8), np.int64)
    expected[:, :4], expected[:2, 6:] = 1, 2
    for found in (result.labels, result.humans, result.parts):
        np.testing.assert_array_equal(found, expected)
    assert set(result.timings) == {"global", "local", "fusion", "instances", "refine"}


def test_without_people_the_global_network_decides_alone() -> None:
    labels = truth(0)[0]
    facts = metadata((193, 193))
    local = Oracle(labels, facts)
    result = PeopleParser(Oracle(labels, facts), [local])(map_of_places(*SIZE), [])
    assert np.mean(result.labels == labels) > 0.98
    assert not result.parts.any()
    assert not result.humans.any()
    assert (result.people, result.part_instances, local.batches) == ((), (), [])
    alone = PeopleParser(None, [local])(map_of_places(*SIZE), [])
    assert not alone.labels.any()


def test_crops_go_through_in_groups() -> None:
    labels, humans, _ = truth(2)
    people = people_of_ids(humans)[:2] + people_of_ids(humans)[:1]
    for batch, static, expected in ((1, None, [1, 1, 1]), (2, None, [2, 1]), (9, 2, [2, 2])):
        network = Oracle(labels, metadata((65, 65)), static)
        PeopleParser(None, [network], batch=batch)(map_of_places(*SIZE), people)
        assert network.batches == expected


def test_networks_that_cannot_be_fused_are_refused_in_one_line() -> None:
    facts = metadata()
    good = Oracle(np.zeros((2, 2), np.uint8), facts)
    with pytest.raises(ModelFileError, match=r"network 2 .* output is labels, expected logits"):
        PeopleParser(good, [Oracle(good.truth, metadata(output="labels"))])
    with pytest.raises(ModelFileError, match="network 2: its 18 classes"):
        PeopleParser(good, [Oracle(good.truth, metadata(classes=18))])
    with pytest.raises(ValueError, match="0 networks"):
        PeopleParser(None, [])


def test_people_that_do_not_fit_the_frame_are_refused() -> None:
    parser, frame = small()
    with pytest.raises(ValueError, match=r"mask is \[3, 3\], the picture is \[6, 8\]"):
        parser(frame, [Person((0, 0, 2, 2), np.ones((3, 3), np.bool_), 1.0)])
    with pytest.raises(ValueError, match="outside the 8x6 picture"):
        parser(frame, [Person((20, 0, 22, 2), None, 1.0)])
    with pytest.raises(ValueError, match="expected a uint8 BGR array"):
        parser(frame[..., 0], [])


def test_closing_releases_every_network() -> None:
    networks = [Oracle(np.zeros((2, 2), np.uint8), metadata()) for _ in range(3)]
    with PeopleParser(networks[0], networks[1:]):
        pass
    assert [network.closed for network in networks] == [True, True, True]


# Results on disk


def parsed() -> tuple[PeopleResult, NDArray[np.uint8]]:
    labels, humans, _ = truth(0)
    frame = annotated_at("cihp", 3, 0, SIZE).image
    people = [Person(p.box, p.mask, 0.7 + 0.01 * i) for i, p in enumerate(people_of_ids(humans))]
    return PeopleParser(Oracle(labels, metadata((193, 193))))(map_of_places(*SIZE), people), frame


def test_results_round_trip(tmp_path: Path) -> None:
    result, _ = parsed()
    with PeopleWriter(tmp_path) as writer:
        writer.write("0000001", result)
        writer.write("empty", PeopleParser(Oracle(result.labels, metadata()))(map_of_places(*SIZE), []))
    files = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    assert files == sorted(
        [
            f"{kind}/{name}.png"
            for kind in ("global_parsing", "instance_parsing", "global_tag")
            for name in ("0000001", "empty")
        ]
        + ["instance_parsing/0000001.txt", "instance_parsing/empty.txt", "results.txt"]
    )
    stored = read_people(tmp_path, "0000001")
    np.testing.assert_array_equal(stored.labels, result.labels)
    np.testing.assert_array_equal(stored.parts, result.parts)
    np.testing.assert_array_equal(stored.humans, result.humans)
    assert stored.part_scores == tuple((p.class_id, p.score) for p in result.part_instances)
    assert stored.human_scores == tuple(p.score for p in result.people)
    assert read_people(tmp_path, "empty").part_scores == ()


def test_the_text_files_are_the_published_ones(tmp_path: Path) -> None:
    parser, frame = small()
    people = [Person((0, 0, 4, 6), None, 0.75), Person((6, 0, 8, 2), None, 0.5)]
    with PeopleWriter(tmp_path) as writer:
        writer.write("a", parser(frame, people))
    assert (tmp_path / "instance_parsing/a.txt").read_text() == "1 4.0\n2 8.0\n"
    assert (tmp_path / "results.txt").read_text() == "a 1 0.75 2 0.5\n"


def test_results_of_other_pictures_stay_and_those_of_an_aborted_run_count(tmp_path: Path) -> None:
    result, _ = parsed()
    with PeopleWriter(tmp_path) as writer:
        writer.write("first", result)
    with contextlib.suppress(KeyboardInterrupt), PeopleWriter(tmp_path) as writer:
        writer.write("second", result)
        raise KeyboardInterrupt
    assert [line.split()[0] for line in (tmp_path / "results.txt").read_text().splitlines()] == ["first", "second"]


def test_more_than_255_parts_are_an_error_and_leave_no_file(tmp_path: Path) -> None:
    labels = np.tile(np.arange(20, dtype=np.uint8), (16, 1))
    people = [Person((0, row, 20, row + 1), None, 1.0) for row in range(16)]
    logits = np.where(labels == np.arange(20)[:, np.newaxis, np.newaxis], 9, 0).astype(np.float32)
    result = PeopleParser(Fixed(metadata((16, 20)), logits), grow=False)(np.zeros((16, 20, 3), np.uint8), people)
    assert len(result.part_instances) == 16 * 19
    with pytest.raises(MediaError, match=r"crowd: 304 parts of 16 people, the result layout holds 255"):  # noqa: SIM117
        with PeopleWriter(tmp_path / "out") as writer:
            writer.write("crowd", result)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["my street", "", "a/b", "a\tb"])
def test_names_that_results_cannot_hold_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MediaError, match="rename the picture"):
        PeopleWriter(tmp_path).write(name, parsed()[0])


def test_results_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    result, _ = parsed()
    with PeopleWriter(tmp_path) as writer:
        writer.write("a", result)
    with pytest.raises(MediaError, match="has no line for b"):
        read_people(tmp_path, "b")
    (tmp_path / "instance_parsing/a.txt").write_text("1 2.5\n")
    with pytest.raises(MediaError, match="parts or people without a score"):
        read_people(tmp_path, "a")
    (tmp_path / "instance_parsing/a.txt").write_text("1 2.5\none\n")
    with pytest.raises(MediaError, match=r"a\.txt: line 2 is 'one'"):
        read_people(tmp_path, "a")
    (tmp_path / "results.txt").write_text("a 2 0.5\n")
    with pytest.raises(MediaError, match=r"results\.txt: line 1"):
        read_people(tmp_path, "a")
    with pytest.raises(MediaError, match="no such file"):
        read_people(tmp_path / "none", "a")


# Pictures


def test_the_overlay_outlines_each_person_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    result, frame = parsed()
    overlay = result.overlay(frame)
    assert overlay.shape == frame.shape
    far = np.ones(SIZE, np.bool_)
    for person in result.people:
        rows, columns = np.nonzero(np.asarray(person.mask))
        for dy in range(-4, 5):
            for dx in range(-4, 5):
                far[np.clip(rows + dy, 0, SIZE[0] - 1), np.clip(columns + dx, 0, SIZE[1] - 1)] = False
    # Numbers hang over outlines a little; nearly all the background is untouched.
    untouched = (overlay == frame).all(axis=2)
    assert np.mean(untouched[far & (result.labels == 0)]) > 0.97
    for number in range(1, len(result.people) + 1):
        colour = ((0, 255, 255), (255, 128, 0), (0, 220, 0), (255, 0, 255))[number - 1]
        drawn = (overlay == colour).all(axis=2)
        mask = np.asarray(result.people[number - 1].mask).astype(np.uint8)
        outline = cv2.dilate(mask, np.ones((3, 3))) - cv2.erode(mask, np.ones((3, 3)))
        assert drawn.sum() > 50
        assert np.mean(outline[drawn]) > 0.6  # the rest is the number
    assert result.save_overlay(tmp_path / "a.jpg", frame).stat().st_size > 1000
    with pytest.raises(MediaError, match="no picture format"):
        result.save_overlay(tmp_path / "a.txt", frame)
