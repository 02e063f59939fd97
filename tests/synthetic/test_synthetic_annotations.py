"""What the same people are called in other data sets: mappings by number, left and right, groups, parts and borders."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p.datasets import DATASETS
from ce2p.synthetic import Lip, annotated_at, render, render_group, sample_at, sample_group
from ce2p.synthetic.annotated import outline, part_instances, stream
from ce2p.synthetic.body import Skeleton, place
from ce2p.synthetic.classes import class_table
from ce2p.synthetic.group import Group
from ce2p.synthetic.regions import Region
from ce2p.synthetic.scene import Scene, render_regions

SMALL = (96, 80)
Map = NDArray[np.uint8]


def skeleton_of(scene: Scene) -> Skeleton:
    return place(scene.person.physique, scene.pose, scene.view)


# Written out by hand from the class lists of the data sets: ATR's and CIHP's numbers of each thing that is drawn.
ATR = {
    (Lip.BACKGROUND, Region.NOTHING): 0,
    (Lip.HAT, Region.HEAD): 1,
    (Lip.HAIR, Region.HEAD): 2,
    (Lip.SUNGLASSES, Region.HEAD): 3,
    (Lip.FACE, Region.HEAD): 11,
    (Lip.FACE, Region.NECK): 11,
    (Lip.UPPER_CLOTHES, Region.TRUNK): 4,
    (Lip.UPPER_CLOTHES, Region.LEFT_ARM): 4,
    (Lip.COAT, Region.RIGHT_ARM): 4,
    (Lip.SKIRT, Region.HIPS): 5,
    (Lip.PANTS, Region.HIPS): 6,
    (Lip.PANTS, Region.LEFT_LEG): 6,
    (Lip.DRESS, Region.TRUNK): 7,
    (Lip.DRESS, Region.BELT): 8,
    (Lip.JUMPSUITS, Region.BELT): 8,
    (Lip.JUMPSUITS, Region.TRUNK): 4,
    (Lip.JUMPSUITS, Region.RIGHT_ARM): 4,
    (Lip.JUMPSUITS, Region.HIPS): 6,
    (Lip.JUMPSUITS, Region.RIGHT_LEG): 6,
    (Lip.LEFT_SHOE, Region.LEFT_LEG): 9,
    (Lip.RIGHT_SHOE, Region.RIGHT_LEG): 10,
    (Lip.LEFT_LEG, Region.LEFT_LEG): 12,
    (Lip.RIGHT_LEG, Region.RIGHT_LEG): 13,
    (Lip.SOCKS, Region.LEFT_LEG): 12,
    (Lip.SOCKS, Region.RIGHT_LEG): 13,
    (Lip.LEFT_ARM, Region.LEFT_ARM): 14,
    (Lip.RIGHT_ARM, Region.RIGHT_ARM): 15,
    (Lip.GLOVE, Region.LEFT_ARM): 14,
    (Lip.GLOVE, Region.RIGHT_ARM): 15,
    (Lip.SCARF, Region.TRUNK): 17,
    (Lip.BACKGROUND, Region.BAG): 16,
}
CIHP = {
    (Lip.FACE, Region.HEAD): 13,
    (Lip.FACE, Region.NECK): 10,
    (Lip.JUMPSUITS, Region.TRUNK): 5,
    (Lip.JUMPSUITS, Region.BELT): 5,
    (Lip.JUMPSUITS, Region.LEFT_ARM): 5,
    (Lip.JUMPSUITS, Region.HIPS): 9,
    (Lip.JUMPSUITS, Region.LEFT_LEG): 9,
    (Lip.JUMPSUITS, Region.RIGHT_LEG): 9,
}


def test_atrs_numbers() -> None:
    assert {key: int(class_table("atr")[key]) for key in ATR} == ATR


def test_cihps_numbers_are_lips_except_for_necks_and_jumpsuits() -> None:
    assert {key: int(class_table("cihp")[key]) for key in CIHP} == CIHP
    same = {(label, region): int(label) for label in Lip for region in Region if label is not Lip.JUMPSUITS}
    del same[Lip.FACE, Region.NECK]
    assert {key: int(class_table("cihp")[key]) for key in same} == same


def test_the_small_data_set_merges_clothes_and_keeps_sides() -> None:
    table = class_table("custom")
    merged = {label: {int(table[label, region]) for region in Region} for label in Lip}
    assert all(
        merged[Lip[name]] == {3} for name in ("HAT", "UPPER_CLOTHES", "DRESS", "COAT", "PANTS", "SKIRT", "SCARF")
    )
    assert merged[Lip.LEFT_SHOE] == merged[Lip.RIGHT_SHOE] == {8}
    assert merged[Lip.LEFT_LEG] == {6}
    assert table[Lip.SOCKS, Region.LEFT_LEG] == 6
    assert table[Lip.GLOVE, Region.RIGHT_ARM] == 5


@pytest.mark.parametrize("dataset", ["lip", "atr", "custom", "cihp"])
def test_left_is_the_persons_own_left(dataset: str) -> None:
    """In most pictures, since few people turn away, whatever is left lies to the picture's right of its counterpart."""
    labels = DATASETS[dataset].labels
    assert labels.flip_pairs
    seen: dict[str, list[bool]] = {labels.names[left]: [] for left, _ in labels.flip_pairs}
    for index in range(50):
        sample = annotated_at(dataset, 2, index, SMALL, whole_figures=True)
        someone = sample.labels > 0 if sample.humans is None else sample.humans == sample.humans.max()
        for left, right in labels.flip_pairs:
            xs, others = (np.nonzero((sample.labels == label) & someone)[1] for label in (left, right))
            if min(xs.size, others.size) > 5:
                seen[labels.names[left]].append(bool(xs.mean() > others.mean()))
    for name, right_way_round in seen.items():
        assert len(right_way_round) >= 8, name
        assert np.mean(right_way_round) > 0.85, name


def test_a_glove_is_the_arm_it_is_on_and_a_sock_the_leg() -> None:
    checked = {Lip.GLOVE: 0, Lip.SOCKS: 0}
    ends = {Lip.GLOVE: ("wrist", (14, 15)), Lip.SOCKS: ("ankle", (12, 13))}
    for index in range(60):
        scene = sample_at(8, index, SMALL)
        joints = skeleton_of(scene).joints
        _, labels = render(scene)
        atr = annotated_at("atr", 8, index, SMALL).labels
        for label, (joint, (left, right)) in ends.items():
            ys, xs = np.nonzero((labels == label) & (atr != 16))
            apart = [
                np.hypot(*(np.stack([xs, ys]).T + 0.5 - joints[f"{side}_{joint}"]).T) for side in ("left", "right")
            ]
            clear = np.abs(apart[0] - apart[1]) > 0.12 * scene.view.scale
            expected = np.where(apart[0] < apart[1], left, right)[clear]
            assert (atr[ys, xs][clear] == expected).mean() > 0.95 if clear.any() else True
            checked[label] += int(clear.sum() > 4)
    assert min(checked.values()) > 10


def test_atrs_pictures_are_lips_with_bags() -> None:
    pixels, bags = np.zeros(18, int), 0
    for index in range(50):
        image, labels = render(sample_at(1, index, SMALL))
        sample = annotated_at("atr", 1, index, SMALL)
        bag = sample.labels == 16
        bags += bag.any()
        around = cv2.dilate(bag.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        np.testing.assert_array_equal((sample.labels > 0)[~around], (labels > 0)[~around])
        # A strap thinner than a pixel may miss its centre: then it colours the pixel without labelling it.
        assert (sample.image != image)[~around].mean() < 0.002
        pixels += np.bincount(sample.labels.ravel(), minlength=18)
    assert 10 <= bags <= 30
    assert (pixels > 0).all()


@pytest.mark.parametrize(("garment", "cloth"), [("dress", 7), ("jumpsuit", 4)])
def test_a_sash_and_a_jumpsuits_belt_are_atrs_belt(garment: str, cloth: int) -> None:
    """Around the waist: below most of the garment's upper part, above what hangs from the hips."""
    belts = []
    for index in range(60):
        scene = sample_at(1, index, SMALL, whole_figures=True)
        if scene.person.outfit.lower != garment or scene.person.outfit.coat:
            continue
        atr = annotated_at("atr", 1, index, SMALL, whole_figures=True).labels
        rows = np.nonzero(atr == 8)[0]
        belts.append(rows.size)
        k = skeleton_of(scene)
        if rows.size:
            assert k.trunk(0.45)[1] < rows.mean() < k.trunk(0.15)[1]
            assert (atr == cloth).any()
    assert len(belts) >= 5
    assert np.mean(np.array(belts) > 3) > 0.7


def test_someone_is_visible_wherever_there_is_an_instance_and_every_id_is_one_part_of_one_person() -> None:
    people = []
    for index in range(30):
        sample = annotated_at("cihp", 5, index, SMALL)
        assert sample.humans is not None
        assert sample.instances is not None
        np.testing.assert_array_equal(sample.humans > 0, sample.labels > 0)
        np.testing.assert_array_equal(sample.instances > 0, sample.labels > 0)
        people.append(int(sample.humans.max()))
        assert set(np.unique(sample.humans)) == set(range(people[-1] + 1))
        ids = np.unique(sample.instances[sample.instances > 0]).tolist()
        assert ids == list(range(1, len(ids) + 1))
        pairs = []
        for number in ids:  # what M-CE2P's metrics/helper.py asserts of a ground truth
            where = sample.instances == number
            (human,), (label,) = np.unique(sample.humans[where]), np.unique(sample.labels[where])
            pairs.append((human, label))
        assert len(set(pairs)) == len(pairs)  # a part in two pieces is still one
    assert set(people) == {2, 3, 4}


def test_part_instances_by_hand() -> None:
    labels = np.array([[0, 5, 5, 0, 5, 13]], np.uint8)
    humans = np.array([[0, 1, 2, 0, 1, 2]], np.uint8)
    assert part_instances(labels, humans).tolist() == [[0, 1, 2, 0, 1, 3]]
    assert part_instances(labels[:, 1:3], humans[:, 1:3]).tolist() == [[1, 2]]
    nobody = np.zeros((2, 3), np.uint8)
    assert part_instances(nobody, nobody).tolist() == nobody.tolist()


def groups(count: int) -> list[Group]:
    return [sample_group(stream(6, "train", index), SMALL) for index in range(count)]


def test_who_is_nearer_covers_who_is_farther_away() -> None:
    covered = 0
    for group in groups(15):
        scales = [figure.view.scale for figure in group.figures]
        assert scales == sorted(scales)
        labels, humans = np.zeros(SMALL, np.uint8), np.zeros(SMALL, np.uint8)
        for number, figure in enumerate(group.figures, 1):
            alone = render_group(replace(group, figures=(figure,))).labels
            covered += bool((humans[alone > 0] > 0).sum() > 20)
            labels[alone > 0] = alone[alone > 0]
            humans[alone > 0] = number
        picture = render_group(group)
        np.testing.assert_array_equal(picture.labels, labels)
        np.testing.assert_array_equal(picture.humans, humans)  # nobody is hidden altogether in these
        np.testing.assert_array_equal(picture.regions > 0, labels > 0)
    assert covered > 12


def test_someone_in_front_changes_no_pixel_elsewhere() -> None:
    """Were the class alone to confine details, a chin's shadow would also fall on the face of someone behind."""
    for group in groups(20):
        *_, nearest = group.figures
        twin = replace(nearest, view=replace(nearest.view, x=nearest.view.x + 0.07 * nearest.view.scale))
        dark = replace(group, light=replace(group.light, noise=0.0))
        behind, both = (render_group(replace(dark, figures=figures)) for figures in ((twin,), (twin, nearest)))
        front = (both.humans == 2).astype(np.uint8)
        away = cv2.dilate(front, np.ones((3, 3), np.uint8)) == 0
        # The shadow of the one in front falls on the ground: look only where someone stands, and not at the edge.
        away &= cv2.erode((behind.labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert away.sum() > 40
        np.testing.assert_array_equal(behind.image[away], both.image[away])


def test_a_completely_hidden_person_gets_no_number() -> None:
    group = groups(1)[0]
    *_, nearest = group.figures
    # The same figure twice covers itself exactly.
    picture = render_group(replace(group, figures=(nearest, nearest)))
    assert set(np.unique(picture.humans)) == {0, 1}
    assert set(np.unique(part_instances(picture.labels, picture.humans))) >= {0, 1}


HEAD, TORSO, UPPER_ARMS, LOWER_ARMS, UPPER_LEGS, LOWER_LEGS = range(1, 7)


def test_body_parts_are_the_person_of_lips_picture() -> None:
    possible = {
        HEAD: {Lip.HAT, Lip.HAIR, Lip.SUNGLASSES, Lip.FACE},
        UPPER_ARMS: {Lip.UPPER_CLOTHES, Lip.DRESS, Lip.COAT, Lip.JUMPSUITS, Lip.LEFT_ARM, Lip.RIGHT_ARM},
        LOWER_LEGS: set(Lip) - {Lip.HAT, Lip.SUNGLASSES, Lip.FACE, Lip.HAIR, Lip.GLOVE, Lip.LEFT_ARM, Lip.RIGHT_ARM},
    }
    for index in range(20):
        image, labels = render(sample_at(3, index, SMALL))
        sample = annotated_at("ppp", 3, index, SMALL)
        np.testing.assert_array_equal(sample.image, image)
        np.testing.assert_array_equal(sample.labels > 0, labels > 0)
        for part, classes in possible.items():
            assert set(np.unique(labels[sample.labels == part]).tolist()) <= {int(label) for label in classes}
        for label, parts in (
            (Lip.HAIR, {HEAD}),
            (Lip.HAT, {HEAD}),
            (Lip.FACE, {HEAD, TORSO}),
            (Lip.SCARF, {TORSO}),
            (Lip.GLOVE, {LOWER_ARMS}),
            (Lip.LEFT_SHOE, {LOWER_LEGS}),
            (Lip.SOCKS, {LOWER_LEGS}),
            (Lip.PANTS, {TORSO, UPPER_LEGS, LOWER_LEGS}),
            (Lip.RIGHT_ARM, {UPPER_ARMS, LOWER_ARMS}),
            (Lip.LEFT_LEG, {UPPER_LEGS, LOWER_LEGS}),
        ):
            assert set(np.unique(sample.labels[labels == label]).tolist()) <= parts, label.name


def test_body_parts_lie_in_order_from_head_to_foot() -> None:
    for index in range(20):
        parts = annotated_at("ppp", 3, index, SMALL, whole_figures=True).labels
        rows = {part: float(np.nonzero(parts == part)[0].mean()) for part in np.unique(parts).tolist()}
        assert rows[HEAD] < rows[TORSO] < rows[UPPER_LEGS] < rows[LOWER_LEGS]
        assert rows[HEAD] < rows.get(UPPER_ARMS, np.inf)


def test_limbs_are_cut_at_elbow_and_knee() -> None:
    """In the middle of the upper bone and beyond the middle of the lower one, where nothing hides the limb."""
    checked = 0
    for index in range(40):
        scene = sample_at(7, index, SMALL, whole_figures=True)
        joints = skeleton_of(scene).joints
        regions, parts = render_regions(scene)[2], annotated_at("ppp", 7, index, SMALL, whole_figures=True).labels
        for side in ("left", "right"):
            for limb, bones in (("arm", ("shoulder", "elbow", "wrist")), ("leg", ("hip", "knee", "ankle"))):
                root, middle, end = (joints[f"{side}_{joint}"] for joint in bones)
                upper, lower = (UPPER_ARMS, LOWER_ARMS) if limb == "arm" else (UPPER_LEGS, LOWER_LEGS)
                if np.hypot(*(middle - root)) < 0.09 * scene.view.scale or (end - middle) @ (middle - root) < 0:
                    continue  # foreshortened, or bent so far that the bones overlap in the picture
                for at, part in ((0.5 * root + 0.5 * middle, upper), (0.4 * middle + 0.6 * end, lower)):
                    x, y = int(at[0]), int(at[1])
                    if 0 <= x < 80 and 0 <= y < 96 and regions[y, x] == Region[f"{side}_{limb}".upper()]:
                        assert parts[y, x] == part, (index, side, limb)
                        checked += 1
    assert checked > 150


def test_a_skirt_is_thighs_between_groin_and_knee() -> None:
    torso = []
    for index in range(60):
        scene = sample_at(7, index, SMALL, whole_figures=True)
        if scene.person.outfit.lower != "skirt":
            continue
        joints, k = skeleton_of(scene).joints, skeleton_of(scene)
        parts = annotated_at("ppp", 7, index, SMALL, whole_figures=True).labels
        skirt = render_regions(scene)[2] == Region.HIPS
        torso.append(float((parts[skirt] == TORSO).mean()))
        rows = np.nonzero(skirt & (parts == UPPER_LEGS))[0]
        knees = max(joints["left_knee"][1], joints["right_knee"][1])
        assert rows.size == 0 or rows.max() <= knees + 0.06 * k.scale
        assert set(np.unique(parts[skirt]).tolist()) <= {TORSO, UPPER_LEGS, LOWER_LEGS}
    assert len(torso) > 8
    assert 0.1 < np.mean(torso) < 0.6


def test_an_objects_outline_is_ignored_five_pixels_wide() -> None:
    mask = np.zeros((40, 30), bool)
    mask[10:30, 8:] = True  # cut off by the picture's right edge
    band = outline(mask, 5)
    assert np.flatnonzero(band[20]).tolist() == [6, 7, 8, 9, 10]
    assert np.flatnonzero(band[:, 20]).tolist() == [8, 9, 10, 11, 12, 27, 28, 29, 30, 31]


def test_vocs_person_is_lips_person_within_its_outline() -> None:
    for index in range(10):
        image, labels = render(sample_at(3, index, (128, 100)))
        sample = annotated_at("voc", 3, index, (128, 100))
        np.testing.assert_array_equal(sample.image, image)
        assert set(np.unique(sample.labels).tolist()) == {0, 15, 255}
        kept = sample.labels != 255
        np.testing.assert_array_equal((sample.labels == 15)[kept], (labels > 0)[kept])
        edge = np.zeros((128, 100), bool)
        edge[1:] |= (labels[1:] > 0) != (labels[:-1] > 0)
        edge[:, 1:] |= (labels[:, 1:] > 0) != (labels[:, :-1] > 0)
        assert not kept[edge].any()
