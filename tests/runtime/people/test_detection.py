"""Mask R-CNN with random weights: well-formed people, the right file for the right network, errors in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision.models import detection as zoo

from ce2p.detection import MaskRCNN, _people
from ce2p.errors import CheckpointError, ConfigError

FRAME = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> zoo.MaskRCNN:
    """Random weights, two classes, small inputs, and a classifier that takes everything for a person."""
    torch.manual_seed(0)
    net = zoo.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2, min_size=64, max_size=96)
    torch.nn.init.constant_(net.roi_heads.box_predictor.cls_score.bias, 0.0)
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.bias[1] = 3.0
    return net


def test_people_are_well_formed(network: zoo.MaskRCNN) -> None:
    people = MaskRCNN.on(network, "random")(FRAME)
    assert people
    for person in people:
        x0, y0, x1, y1 = person.box
        assert 0 <= x0 < x1 <= 83
        assert 0 <= y0 < y1 <= 61
        assert person.mask.shape == (61, 83)
        assert person.mask.dtype == np.bool_
        assert person.mask.any()
        assert 0.7 <= person.score <= 1
    scores = [person.score for person in people]
    assert scores == sorted(scores, reverse=True)
    assert MaskRCNN.on(network, "random")(FRAME, threshold=1.01) == []


def test_the_network_gets_rgb_between_0_and_1() -> None:
    seen: list[torch.Tensor] = []

    class Listener(torch.nn.Module):
        def forward(self, pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            seen.extend(pictures)
            empty = torch.zeros(0)
            return [{"boxes": empty, "labels": empty, "scores": empty, "masks": empty}]

    listener: Any = Listener()
    assert MaskRCNN.on(listener, "listener")(np.full((2, 3, 3), (0, 51, 255), np.uint8)) == []
    assert seen[0].shape == (3, 2, 3)
    assert seen[0][:, 0, 0].tolist() == pytest.approx([1.0, 0.2, 0.0])


def test_only_people_with_score_and_mask_are_kept_highest_first() -> None:
    masks = torch.zeros(5, 1, 4, 6)
    masks[:4, 0, 1, 2] = torch.tensor([0.5, 0.9, 0.8, 0.7])
    masks[4, 0, 1, 2] = 0.49
    found = {
        "boxes": torch.tensor([[0.0, 1, 2, 3]] * 5),
        "labels": torch.tensor([1, 1, 2, 1, 1]),
        "scores": torch.tensor([0.75, 0.95, 0.99, 0.69, 0.9]),
        "masks": masks,
    }
    people = _people(found, 0.7)
    assert [round(person.score, 2) for person in people] == [0.95, 0.75]
    assert people[1].mask.sum() == 1
    assert people[1].mask[1, 2]
    assert people[0].box == (0, 1, 2, 3)


def test_weights_come_from_a_file(network: zoo.MaskRCNN, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "detector.pth")
    detector = MaskRCNN(tmp_path / "detector.pth", "cpu")
    assert "detector.pth" in detector.description
    ours = detector._network.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in network.state_dict().items())


def test_the_second_version_is_told_from_its_keys(tmp_path: Path) -> None:
    net = zoo.maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=3)
    torch.save(net.state_dict(), tmp_path / "v2.pth")
    detector = MaskRCNN(tmp_path / "v2.pth", "cpu")
    assert detector._network.roi_heads.box_predictor.cls_score.out_features == 3


def test_other_files_are_refused_in_one_line(network: zoo.MaskRCNN, tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: has no roi_heads.*no Mask R-CNN of torchvision"):
        MaskRCNN(tmp_path / "other.pth", "cpu")
    tensors = dict(network.state_dict())
    del tensors["backbone.fpn.layer_blocks.0.0.bias"]
    torch.save(tensors, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"part\.pth: does not fit maskrcnn_resnet50_fpn") as error:
        MaskRCNN(tmp_path / "part.pth", "cpu")
    assert "backbone.fpn.layer_blocks.0.0.bias" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(CheckpointError, match="no such file"):
        MaskRCNN(tmp_path / "none.pth", "cpu")
    for odd in (torch.tensor(1.0), torch.zeros(1).expand(10**9, 1)):  # a network of that many would take 4 TB
        torch.save(tensors | {"roi_heads.box_predictor.cls_score.weight": odd}, tmp_path / "odd.pth")
        with pytest.raises(CheckpointError, match=r"odd\.pth: roi_heads.*classes, expected 2 to 10000"):
            MaskRCNN(tmp_path / "odd.pth", "cpu")


def test_without_a_network_connection_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **options: object) -> None:
        assert options["weights_only"] is True
        raise URLError("no route to host")

    monkeypatch.setattr(zoo.MaskRCNN_ResNet50_FPN_V2_Weights, "get_state_dict", offline)
    with pytest.raises(CheckpointError, match=r"maskrcnn_resnet50_fpn_v2.*cannot be downloaded.*--detector-weights"):
        MaskRCNN(device="cpu")


def test_a_device_that_is_not_there_is_an_error(network: zoo.MaskRCNN) -> None:
    for name in ("cuda:99", "tpu7"):
        with pytest.raises(ConfigError, match=f"device '{name}'"):
            MaskRCNN.on(network, "random", name)
