"""Public backbone files by their published key names, and fine-tuning from whole networks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ce2p.checkpoints import save_checkpoint
from ce2p.errors import CheckpointError
from ce2p.models import CE2P, CE2PConfig, untrained
from ce2p.training.initial_weights import load_backbone, load_weights

# Written by hand from the public code, independently of ce2p.families.
MIT_STEM = {r"stem\.(\d)\.conv": lambda n: f"conv{n + 1}", r"stem\.(\d)\.norm": lambda n: f"bn{n + 1}"}
MMSEG_STEM = {r"stem\.(\d)\.conv": lambda n: f"stem.{3 * n}", r"stem\.(\d)\.norm": lambda n: f"stem.{3 * n + 1}"}
STEMS: dict[str, dict[str, Callable[[int], str]]] = {"schp": MIT_STEM, "ssseg": MMSEG_STEM, "mce2p": MIT_STEM}


def public_name(family: str, ours: str) -> str:
    module, _, parameter = ours.rpartition(".")
    for pattern, made in STEMS[family].items():
        if match := re.fullmatch(pattern, module):
            return f"{made(int(match.group(1)))}.{parameter}"
    module = re.sub(r"branch\.(\d)\.conv", lambda m: f"conv{int(m.group(1)) + 1}", module)
    module = re.sub(r"branch\.(\d)\.norm", lambda m: f"bn{int(m.group(1)) + 1}", module)
    module = module.replace("downsample.conv", "downsample.0").replace("downsample.norm", "downsample.1")
    return f"{module}.{parameter}"


def narrow(family: str, backbone: str = "r50", classes: int = 5, stride: int = 16) -> CE2P:
    """A network as deep as the real one with an eighth of its width: a file of it is small and has all the names."""
    fields = CE2PConfig.of(family, backbone, stride, classes).to_dict()
    widths: dict[str, Any] = {"base_width": 8, "pyramid_width": 8, "edge_width": 8, "decoder_width": 8}
    return CE2P(CE2PConfig.from_dict(fields | widths | {"shortcut_width": 8}))


def public_file(net: CE2P, seed: int = 3) -> dict[str, Tensor]:
    """Random tensors under public names, with ImageNet's classifier."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, value in net.backbone.state_dict().items():
        random = torch.randn(value.shape, generator=generator) if value.is_floating_point() else torch.tensor(77)
        state[public_name(net.config.family, key)] = random
    width = net.backbone.widths[-1]
    return state | {"fc.weight": torch.zeros(1000, width), "fc.bias": torch.zeros(1000)}


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def filled(net: CE2P, tensors: dict[str, Tensor]) -> bool:
    family = net.config.family
    return all(torch.equal(v, tensors[public_name(family, k)]) for k, v in net.backbone.state_dict().items())


@pytest.mark.parametrize("backbone", ["r50", "r101"])
@pytest.mark.parametrize("family", ["schp", "ssseg", "mce2p"])
def test_every_backbone_tensor_comes_from_the_file(tmp_path: Path, family: str, backbone: str) -> None:
    net = narrow(family, backbone)
    head = net.fusion.classifier.weight.clone()  # type: ignore[union-attr]
    tensors = public_file(net)
    report = load_backbone(net, saved(tmp_path / "resnet.pth", tensors))
    assert filled(net, tensors)
    assert report.loaded == len(net.backbone.state_dict()) == len(tensors) - 2
    assert report.unused == ("fc.weight 1000x256", "fc.bias 1000")
    assert torch.equal(net.fusion.classifier.weight, head)  # type: ignore[union-attr]
    assert report.lines()[0].endswith(f"{report.loaded} tensors loaded")
    assert report.lines()[1] == "left out: fc.weight 1000x256, fc.bias 1000"


def test_known_keys_of_the_public_files() -> None:
    """A few names as they stand in the public code, so that the two spellings above cannot err together."""
    schp, ssseg, mce2p = (set(public_file(narrow(family))) for family in ("schp", "ssseg", "mce2p"))
    assert {"conv3.weight", "bn3.running_var", "layer1.0.downsample.1.bias", "layer3.5.conv3.weight"} <= schp
    assert {"stem.6.weight", "stem.7.running_mean", "layer4.2.bn3.weight"} <= ssseg
    assert {"conv1.weight", "bn1.bias", "layer4.2.bn3.weight"} <= mce2p
    assert "conv2.weight" not in mce2p


def test_wrappers_old_files_and_half_precision(tmp_path: Path) -> None:
    net = narrow("ssseg")
    tensors = public_file(net)
    load_backbone(net, saved(tmp_path / "v1c.pth", {"meta": {"epoch": 100}, "state_dict": tensors}))
    assert filled(net, tensors)
    old = {key: value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    load_backbone(net, saved(tmp_path / "old.pth", old))
    assert net.backbone.stem[0].norm.num_batches_tracked.item() == 0
    halved = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    save_file({k: v.contiguous() for k, v in halved.items()}, tmp_path / "v1c.safetensors", metadata={"format": "pt"})
    load_backbone(net, tmp_path / "v1c.safetensors")
    assert net.backbone.layer4[0].branch[0].conv.weight.dtype == torch.float32
    assert torch.equal(net.backbone.layer4[0].branch[0].conv.weight, halved["layer4.0.conv1.weight"].float())


def test_ms_deeplab_has_a_first_part_to_strip_and_a_classifier_to_skip(tmp_path: Path) -> None:
    net = narrow("mce2p", "r101")
    tensors = {key: value for key, value in public_file(net).items() if not key.startswith("fc.")}
    wrapped = {f"Scale.{key}": value for key, value in tensors.items()}
    wrapped["Scale.layer5.conv2d_list.0.weight"] = torch.zeros(21, 256, 3, 3)
    report = load_backbone(net, saved(tmp_path / "MS_DeepLab_resnet_pretrained_init.pth", wrapped))
    assert filled(net, tensors)
    assert report.unused == ("layer5.conv2d_list.0.weight 21x256x3x3",)


def test_a_real_resnet50_of_torchvision_fits(tmp_path: Path) -> None:
    from torchvision.models import resnet50

    public = resnet50(weights=None)
    net = CE2P(CE2PConfig.of("mce2p", "r50", 16, 20))
    report = load_backbone(net, saved(tmp_path / "resnet50.pth", public.state_dict()))
    assert report.loaded == 318
    image = torch.randn(1, 3, 65, 65)
    stem = net.backbone.eval().pool(net.backbone.stem(image))
    public.eval()
    theirs = torch.nn.functional.max_pool2d(public.relu(public.bn1(public.conv1(image))), 3, 2, 1, ceil_mode=True)
    assert torch.equal(stem, theirs)
    assert torch.allclose(net.backbone.layer1(stem), public.layer1(stem), atol=1e-5)
    assert torch.allclose(net.backbone.layer2(net.backbone.layer1(stem)), public.layer2(public.layer1(stem)), atol=1e-5)


@pytest.mark.parametrize(
    ("net", "file", "expected"),
    [
        ("schp", "ssseg", r"v1c \(stem 32, 32, 64\), which fits ssseg and ssseg-2020; .*MIT CSAIL's resnet50-imagenet"),
        ("ssseg", "schp", r"MIT CSAIL ResNet .*, which fits ce2p and schp; .*starts from mmseg's resnet50_v1c"),
        ("ssseg", "mce2p", "7x7 stem, which fits mce2p; .*starts from mmseg's resnet50_v1c"),
        ("mce2p", "ssseg", "starts from torchvision's resnet50"),
    ],
)
def test_another_stem_says_which_file_fits(tmp_path: Path, net: str, file: str, expected: str) -> None:
    path = saved(tmp_path / "resnet.pth", public_file(narrow(file)))
    assert_refused(narrow(net), path, expected)


def assert_refused(net: CE2P, path: Path, expected: str) -> None:
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(CheckpointError, match=expected) as caught:
        load_backbone(net, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_what_does_not_fit_is_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    net = narrow("schp")
    tensors = public_file(net)
    path = tmp_path / "resnet.pth"
    without = {key: value for key, value in tensors.items() if key != "layer2.1.bn2.bias"}
    assert_refused(net, saved(path, without), "layer2.1.bn2.bias is missing, expected 16")
    wider = tensors | {"layer2.1.conv2.weight": torch.zeros(3, 3)}
    assert_refused(net, saved(path, wider), "layer2.1.conv2.weight is 3x3, expected 16x16x3x3")
    damaged = tensors | {"bn1.weight": torch.full((8,), float("nan"))}
    assert_refused(net, saved(path, damaged), "bn1.weight holds NaN or infinity")
    assert_refused(net, saved(path, public_file(narrow("schp", "r101"))), "layer3 has 23 blocks, expected 6")
    assert_refused(net, saved(path, {"a.weight": torch.zeros(1), "b": torch.zeros(1)}), "not a ResNet known here")
    assert_refused(net, tmp_path / "none.pth", "no such file")
    assert_refused(CE2P(CE2PConfig.of("schp", "r18", 16, 3)), saved(path, tensors), "no public backbone fits the tiny")


def test_a_whole_network_is_no_backbone(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "whole.safetensors", narrow("schp"), "custom", "untrained")
    assert_refused(narrow("schp"), path, "a whole CE2P network, not a backbone; use --init")
    keys = ["fushion.0.weight", "context_encoding.bottleneck.0.weight", "conv1.weight", "layer1.0.conv1.weight"]
    public = saved(tmp_path / "schp.pth", {key: torch.zeros(1) for key in keys})
    assert_refused(narrow("schp"), public, "a whole CE2P network")


# Fine-tuning


def tiny(classes: int, seed: int, family: str = "schp", stride: int = 16) -> CE2P:
    return untrained(CE2PConfig.of(family, "r18", stride, classes), seed)


def test_the_same_classes_take_everything_over(tmp_path: Path) -> None:
    source, net = tiny(20, 1), tiny(20, 2)
    path = save_checkpoint(tmp_path / "a.safetensors", source, "lip", "untrained, seed 1")
    report = load_weights(net, path)
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in net.state_dict().items())
    assert report.loaded == len(net.state_dict())
    assert report.reinitialised == ()
    assert report.notes == ("classifiers kept: the file has 20 classes too; check that they are the same",)


def test_other_classes_keep_their_random_classifiers_and_say_so(tmp_path: Path) -> None:
    source, net = tiny(20, 1), tiny(7, 2, stride=8)
    fresh = {key: value.clone() for key, value in net.state_dict().items()}
    path = save_checkpoint(tmp_path / "a.safetensors", source, "lip", "untrained, seed 1")
    report = load_weights(net, path)
    classifiers = [
        f"{head}.{kind}" for head in ("fusion.classifier", "stage1_classifier") for kind in ("weight", "bias")
    ]
    assert report.reinitialised == tuple(
        f"{key} {shape} ({shape.replace('7', '20', 1)} in the file)"
        for key, shape in zip(classifiers, ["7x64x1x1", "7", "7x64x1x1", "7"], strict=True)
    )
    for key, value in net.state_dict().items():
        assert torch.equal(value, fresh[key] if key in classifiers else source.state_dict()[key]), key
    assert report.loaded == len(fresh) - 4
    assert "output stride 8 here, 16 in the file" in report.lines()


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (CE2PConfig.of("ce2p", "r18", 16, 20), "found family schp; expected family ce2p"),
        (CE2PConfig.of("mce2p", "r18", 16, 20), "found family schp, stem deep-128.*expected family mce2p, stem 7x7"),
        (CE2PConfig.of("schp", "r50", 16, 20), "found backbone r18.*expected backbone r50"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, other: CE2PConfig, expected: str) -> None:
    path = save_checkpoint(tmp_path / "a.safetensors", tiny(20, 1), "lip", "untrained, seed 1")
    with pytest.raises(CheckpointError, match=expected) as caught:
        load_weights(CE2P(other), path)
    assert str(path) in str(caught.value)
