"""Labels and preprocessing: names, pairs, colours, sizes and constants against the published ones."""

from __future__ import annotations

import pytest

from ce2p.errors import ConfigError
from ce2p.families import FAMILIES, default_input_size, palette_for, preprocessing_for
from ce2p.labels import LABEL_SETS, LabelSet, guess_dataset, label_set


@pytest.mark.parametrize(
    ("dataset", "classes", "known"),
    [
        ("lip", 20, {0: "Background", 3: "Glove", 10: "Jumpsuits", 13: "Face", 14: "Left-arm", 19: "Right-shoe"}),
        ("cihp", 20, {2: "Hair", 7: "Coat", 10: "Torso-skin", 12: "Skirt", 15: "Right-arm", 18: "Left-shoe"}),
        ("atr", 18, {3: "Sunglasses", 8: "Belt", 9: "Left-shoe", 11: "Face", 12: "Left-leg", 16: "Bag", 17: "Scarf"}),
        ("ppp", 7, {0: "Background", 1: "Head", 2: "Torso", 3: "Upper Arms", 6: "Lower Legs"}),
        ("voc", 21, {0: "background", 1: "aeroplane", 15: "person", 20: "tvmonitor"}),
        ("mhp", 59, {0: "Background", 5: "Left-arm", 8: "Right-hand", 16: "Torso-skin", 33: "Right-foot"}),
    ],
)
def test_classes_have_their_published_places(dataset: str, classes: int, known: dict[int, str]) -> None:
    labels = label_set(dataset)
    assert labels.num_classes == classes
    assert {index: labels.names[index] for index in known} == known
    assert len(set(labels.names)) == classes


def test_lip_and_cihp_differ_in_class_ten_only() -> None:
    lip, cihp = label_set("lip").names, label_set("cihp").names
    assert [i for i in range(20) if lip[i] != cihp[i]] == [10]


@pytest.mark.parametrize(
    ("dataset", "pairs"),
    [
        ("lip", {(14, 15), (16, 17), (18, 19)}),
        ("cihp", {(14, 15), (16, 17), (18, 19)}),
        ("atr", {(9, 10), (12, 13), (14, 15)}),
        ("ppp", set()),
        ("voc", set()),
        ("mhp", {(5, 6), (7, 8), (22, 23), (24, 25), (26, 27), (28, 29), (30, 31), (32, 33)}),
    ],
)
def test_left_right_pairs_are_the_published_ones(dataset: str, pairs: set[tuple[int, int]]) -> None:
    assert set(label_set(dataset).flip_pairs) == pairs


def test_every_left_class_is_in_a_pair() -> None:
    for labels in LABEL_SETS.values():
        sided = {i for i, name in enumerate(labels.names) if name.startswith(("Left-", "Right-"))}
        assert {i for pair in labels.flip_pairs for i in pair} == sided


def test_a_pair_that_is_no_left_and_right_is_refused() -> None:
    with pytest.raises(ConfigError, match="Bag and Scarf"):
        LabelSet("atr", "ATR", label_set("atr").names, ((16, 17),))


def test_unknown_dataset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'coco'.*lip, cihp, atr, ppp, voc, mhp"):
        label_set("coco")


PASCAL_COLOURS = {
    0: (0, 0, 0),
    1: (128, 0, 0),
    2: (0, 128, 0),
    3: (128, 128, 0),
    4: (0, 0, 128),
    5: (128, 0, 128),
    6: (0, 128, 128),
    7: (128, 128, 128),
    8: (64, 0, 0),
    15: (192, 128, 128),
    16: (0, 64, 0),
    20: (0, 64, 128),
}
SITE_COLOURS = {1: (128, 0, 0), 2: (255, 0, 0), 4: (170, 0, 51), 11: (52, 86, 128), 13: (0, 0, 255), 19: (255, 170, 0)}


@pytest.mark.parametrize(("dataset", "family"), [("voc", "ssseg"), ("lip", "ce2p"), ("lip", "schp"), ("atr", "ssseg")])
def test_palette_is_pascals_where_the_public_code_uses_it(dataset: str, family: str) -> None:
    palette = palette_for(label_set(dataset), family)
    known = {i: colour for i, colour in PASCAL_COLOURS.items() if i < len(palette)}
    assert {i: palette[i] for i in known} == known


@pytest.mark.parametrize("dataset", ["lip", "cihp"])
@pytest.mark.parametrize("family", ["mce2p", "ssseg", "ssseg-2020"])
def test_palette_is_the_lip_sites_where_the_public_code_uses_it(dataset: str, family: str) -> None:
    palette = palette_for(label_set(dataset), family)
    assert {i: palette[i] for i in SITE_COLOURS} == SITE_COLOURS


def test_palettes_give_every_class_a_colour_of_its_own() -> None:
    for family in FAMILIES:
        for labels in (*LABEL_SETS.values(), guess_dataset(255)):
            palette = palette_for(labels, family)
            assert len(palette) == len(set(palette)) == labels.num_classes
            assert all(0 <= value <= 255 for colour in palette for value in colour)


@pytest.mark.parametrize(("classes", "dataset"), [(20, "lip"), (18, "atr"), (7, "ppp"), (21, "voc"), (59, "mhp")])
def test_dataset_is_guessed_from_the_class_count(classes: int, dataset: str) -> None:
    assert guess_dataset(classes).dataset == dataset


def test_an_unknown_class_count_gets_numbered_names() -> None:
    labels = guess_dataset(5)
    assert labels.dataset == "custom"
    assert labels.names == ("Background", "class 1", "class 2", "class 3", "class 4")
    assert labels.flip_pairs == ()


def normalised(family: str, pixel: tuple[float, float, float]) -> tuple[float, ...]:
    """What the network sees of one pixel given in tensor channel order."""
    how = preprocessing_for(family).normalisation
    return tuple((p * how.scale - m) / s for p, m, s in zip(pixel, how.mean, how.std, strict=True))


@pytest.mark.parametrize(
    ("family", "order", "white"),
    [
        ("ce2p", "bgr", ((1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225)),  # RGB numbers on BGR
        ("schp", "bgr", ((1 - 0.406) / 0.225, (1 - 0.456) / 0.224, (1 - 0.485) / 0.229)),
        ("mce2p", "bgr", (255 - 104.00698793, 255 - 116.66876762, 255 - 122.67891434)),
        ("ssseg", "rgb", ((255 - 123.675) / 58.395, (255 - 116.28) / 57.12, (255 - 103.53) / 57.375)),
        ("ssseg-2020", "rgb", ((255 - 123.675) / 58.395, (255 - 116.28) / 57.12, (255 - 103.53) / 57.375)),
    ],
)
def test_white_is_normalised_as_the_family_does(family: str, order: str, white: tuple[float, ...]) -> None:
    assert preprocessing_for(family).normalisation.colour_order == order
    assert normalised(family, (255, 255, 255)) == pytest.approx(white, rel=1e-9)


def test_geometry_is_the_familys_own() -> None:
    geometry = {family: preprocessing_for(family).geometry.kind for family in FAMILIES}
    assert geometry == {
        "ce2p": "affine",
        "schp": "affine",
        "mce2p": "resize",
        "ssseg": "resize",
        "ssseg-2020": "resize",
    }
    ce2p, schp = preprocessing_for("ce2p").geometry, preprocessing_for("schp").geometry
    assert (ce2p.half_pixel, ce2p.centre, ce2p.unwarp) == (True, "int", "labels")
    assert (schp.half_pixel, schp.centre, schp.unwarp) == (False, "float", "logits")


@pytest.mark.parametrize(
    ("family", "dataset", "side"),
    [
        ("ce2p", "lip", 384),
        ("schp", "lip", 473),
        ("schp", "cihp", 473),
        ("schp", "atr", 512),
        ("schp", "ppp", 512),
        ("mce2p", "cihp", 473),
        ("mce2p", "mhp", 473),
        ("ssseg", "lip", 473),
        ("ssseg", "atr", 473),
        ("ssseg", "voc", 512),
        ("ssseg-2020", "voc", 512),
        ("ssseg", "custom", 473),
    ],
)
def test_input_size_is_the_published_one(family: str, dataset: str, side: int) -> None:
    assert default_input_size(family, dataset) == side
