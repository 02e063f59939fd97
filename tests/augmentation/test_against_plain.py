"""Each augmentation against a plain arrangement of the published passes, with the same draws."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.bench_augmentation import check
from ce2p.augmentation import build_augmentation
from ce2p.labels import label_set
from tests.augmentation.drawing import scene


@pytest.mark.parametrize("dataset", ["lip", "voc"])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("affine", {}),
        ("affine", {"half_pixel": True}),
        ("ssseg", {"resize": (70, 70)}),
        ("ssseg", {"resize": (256, 64), "keep_ratio": True, "scale_range": (0.5, 2.0), "rotation_probability": 0.0}),
        ("crop", {}),
    ],
)
def test_labels_and_pictures_are_those_of_the_published_passes(
    name: str, parameters: dict[str, Any], dataset: str
) -> None:
    augmentation = build_augmentation(name, parameters, (64, 64), label_set(dataset))
    pictures = [scene(70 + i, 90 - 7 * i, seed=i) for i in range(6)]
    found = check(augmentation, pictures, torchvision_agreement=0.7)["published"]
    assert found["labels"] >= 0.999
    assert found["edges"] >= 0.999
    assert found["grey levels"] <= 0.5
