"""Public checkpoint layouts: names and shapes as published, contents as written, InPlaceABN converted.

Expected names and shapes are typed from the public sources, not made by the code under test. Tiny networks
have basic blocks where the public ones have bottlenecks; the same rules name both.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ce2p.checkpoints import load_checkpoint, own_format, save_checkpoint
from ce2p.errors import CheckpointError
from ce2p.families import FAMILIES, recognise
from ce2p.labels import LabelSet
from ce2p.models import CE2P, CE2PConfig
from ce2p.models.layers import ConvNormAct
from ce2p_runtime.base.files import file_sha256

Tiny = Callable[..., CE2P]
State = dict[str, Tensor]

INPLACE_ABN_FAMILIES = ("ce2p", "schp", "mce2p")
SSSEG_FAMILIES = ("ssseg", "ssseg-2020")


def in_public_names(family: str, state: State, *, counted: bool = True) -> State:
    """A state under its family's public names, with or without the batch counts that InPlaceABN lacks."""
    layout = FAMILIES[family]
    return {layout.file_key(k): v for k, v in state.items() if counted or not k.endswith("num_batches_tracked")}


def picture(side: int = 33) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))


def assert_same_network(found: CE2P, expected: CE2P) -> None:
    """Same weights and same outputs, bit for bit."""
    mine, theirs = found.state_dict(), expected.state_dict()
    assert mine.keys() == theirs.keys()
    different = [
        key for key in mine if not key.endswith("num_batches_tracked") and not torch.equal(mine[key], theirs[key])
    ]
    assert different == []
    with torch.no_grad():
        for ours, other in zip(found(picture()), expected(picture()), strict=True):
            assert ours is not None
            assert torch.equal(ours, other)


# --- names and shapes ---

# Public name -> (our name, shape): ResNet-101, 20 classes, reference document section 3.
_BACKBONE: dict[str, tuple[str, tuple[int, ...]]] = {
    "layer1.0.conv2.weight": ("backbone.layer1.0.branch.1.conv.weight", (64, 64, 3, 3)),
    "layer1.0.bn3.running_mean": ("backbone.layer1.0.branch.2.norm.running_mean", (256,)),
    "layer1.0.downsample.1.bias": ("backbone.layer1.0.downsample.norm.bias", (256,)),
    "layer2.0.downsample.0.weight": ("backbone.layer2.0.downsample.conv.weight", (512, 256, 1, 1)),
    "layer2.3.conv1.weight": ("backbone.layer2.3.branch.0.conv.weight", (128, 512, 1, 1)),
    "layer3.22.bn1.weight": ("backbone.layer3.22.branch.0.norm.weight", (256,)),
    "layer3.22.bn2.running_var": ("backbone.layer3.22.branch.1.norm.running_var", (256,)),
    "layer4.2.conv3.weight": ("backbone.layer4.2.branch.2.conv.weight", (2048, 512, 1, 1)),
}
_MIT_STEM: dict[str, tuple[str, tuple[int, ...]]] = {
    "conv1.weight": ("backbone.stem.0.conv.weight", (64, 3, 3, 3)),
    "bn1.weight": ("backbone.stem.0.norm.weight", (64,)),
    "conv2.weight": ("backbone.stem.1.conv.weight", (64, 64, 3, 3)),
    "bn2.running_mean": ("backbone.stem.1.norm.running_mean", (64,)),
    "conv3.weight": ("backbone.stem.2.conv.weight", (128, 64, 3, 3)),
    "bn3.bias": ("backbone.stem.2.norm.bias", (128,)),
    "layer1.0.conv1.weight": ("backbone.layer1.0.branch.0.conv.weight", (64, 128, 1, 1)),
    "layer1.0.downsample.0.weight": ("backbone.layer1.0.downsample.conv.weight", (256, 128, 1, 1)),
}
PUBLISHED: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "schp": _BACKBONE
    | _MIT_STEM
    | {
        "context_encoding.stages.0.1.weight": ("pyramid.stages.0.conv.weight", (512, 2048, 1, 1)),
        "context_encoding.stages.2.2.bias": ("pyramid.stages.2.norm.bias", (512,)),
        "context_encoding.stages.3.1.weight": ("pyramid.stages.3.conv.weight", (512, 2048, 1, 1)),
        "context_encoding.bottleneck.0.weight": ("pyramid.bottleneck.conv.weight", (512, 4096, 3, 3)),
        "context_encoding.bottleneck.1.running_var": ("pyramid.bottleneck.norm.running_var", (512,)),
        "edge.conv1.0.weight": ("edge.branches.0.conv.weight", (256, 256, 1, 1)),
        "edge.conv1.1.weight": ("edge.branches.0.norm.weight", (256,)),
        "edge.conv2.0.weight": ("edge.branches.1.conv.weight", (256, 512, 1, 1)),
        "edge.conv3.0.weight": ("edge.branches.2.conv.weight", (256, 1024, 1, 1)),
        "edge.conv3.1.bias": ("edge.branches.2.norm.bias", (256,)),
        "edge.conv4.weight": ("edge_classifier.shared.weight", (2, 256, 3, 3)),
        "edge.conv4.bias": ("edge_classifier.shared.bias", (2,)),
        "edge.conv5.weight": ("edge_classifier.mix.weight", (2, 6, 1, 1)),
        "edge.conv5.bias": ("edge_classifier.mix.bias", (2,)),
        "decoder.conv1.0.weight": ("decoder.lateral.conv.weight", (256, 512, 1, 1)),
        "decoder.conv1.1.running_mean": ("decoder.lateral.norm.running_mean", (256,)),
        "decoder.conv2.0.weight": ("decoder.shortcut.conv.weight", (48, 256, 1, 1)),
        "decoder.conv2.1.weight": ("decoder.shortcut.norm.weight", (48,)),
        "decoder.conv3.0.weight": ("decoder.merge.conv.weight", (256, 304, 1, 1)),
        "decoder.conv3.1.bias": ("decoder.merge.norm.bias", (256,)),
        "decoder.conv3.2.weight": ("decoder.refine.conv.weight", (256, 256, 1, 1)),
        "decoder.conv3.3.bias": ("decoder.refine.norm.bias", (256,)),
        "decoder.conv4.weight": ("stage1_classifier.weight", (20, 256, 1, 1)),
        "decoder.conv4.bias": ("stage1_classifier.bias", (20,)),
        "fushion.0.weight": ("fusion.merge.conv.weight", (256, 1024, 1, 1)),
        "fushion.1.weight": ("fusion.merge.norm.weight", (256,)),
        "fushion.3.weight": ("fusion.classifier.weight", (20, 256, 1, 1)),
        "fushion.3.bias": ("fusion.classifier.bias", (20,)),
    },
    "ce2p": _BACKBONE
    | _MIT_STEM
    | {
        "layer5.stages.1.1.weight": ("pyramid.stages.1.conv.weight", (512, 2048, 1, 1)),
        "layer5.stages.3.2.running_mean": ("pyramid.stages.3.norm.running_mean", (512,)),
        "layer5.bottleneck.0.weight": ("pyramid.bottleneck.conv.weight", (512, 4096, 3, 3)),
        "layer5.bottleneck.1.weight": ("pyramid.bottleneck.norm.weight", (512,)),
        "edge_layer.conv1.0.weight": ("edge.branches.0.conv.weight", (256, 256, 1, 1)),
        "edge_layer.conv3.0.weight": ("edge.branches.2.conv.weight", (256, 1024, 1, 1)),
        "edge_layer.conv4.weight": ("edge_classifier.shared.weight", (2, 256, 3, 3)),
        "edge_layer.conv5.bias": ("edge_classifier.mix.bias", (2,)),
        "layer6.conv1.0.weight": ("decoder.lateral.conv.weight", (256, 512, 1, 1)),
        "layer6.conv2.0.weight": ("decoder.shortcut.conv.weight", (48, 256, 1, 1)),
        "layer6.conv3.0.weight": ("decoder.merge.conv.weight", (256, 304, 1, 1)),
        "layer6.conv3.2.weight": ("decoder.refine.conv.weight", (256, 256, 1, 1)),
        "layer6.conv3.3.running_var": ("decoder.refine.norm.running_var", (256,)),
        "layer6.conv4.weight": ("stage1_classifier.weight", (20, 256, 1, 1)),
        "layer7.0.weight": ("fusion.merge.conv.weight", (256, 1024, 1, 1)),
        "layer7.1.bias": ("fusion.merge.norm.bias", (256,)),
        "layer7.3.weight": ("fusion.classifier.weight", (20, 256, 1, 1)),
    },
    "mce2p": _BACKBONE
    | {
        "conv1.weight": ("backbone.stem.0.conv.weight", (64, 3, 7, 7)),
        "bn1.running_var": ("backbone.stem.0.norm.running_var", (64,)),
        "layer1.0.conv1.weight": ("backbone.layer1.0.branch.0.conv.weight", (64, 64, 1, 1)),
        "layer5.stages.2.1.weight": ("pyramid.stages.2.conv.weight", (512, 2048, 1, 1)),
        "layer5.bottleneck.0.weight": ("pyramid.bottleneck.conv.weight", (512, 4096, 3, 3)),
        "edgelayer.conv1.0.weight": ("edge.branches.0.conv.weight", (256, 256, 1, 1)),
        "edgelayer.conv2.1.weight": ("edge.branches.1.norm.weight", (256,)),
        "edgelayer.conv4.bias": ("edge_classifier.shared.bias", (2,)),
        "edgelayer.conv5.weight": ("edge_classifier.mix.weight", (2, 6, 1, 1)),
        "layer6.conv1.0.weight": ("decoder.lateral.conv.weight", (256, 512, 1, 1)),
        "layer6.conv2.1.running_mean": ("decoder.shortcut.norm.running_mean", (48,)),
        "layer6.conv3.0.weight": ("decoder.merge.conv.weight", (256, 304, 1, 1)),
        "layer6.conv3.3.weight": ("decoder.refine.conv.weight", (256, 256, 1, 1)),
        "layer6.conv3.4.bias": ("decoder.refine.norm.bias", (256,)),
        "layer6.conv4.bias": ("stage1_classifier.bias", (20,)),
        "layer7.0.weight": ("fusion.merge.conv.weight", (256, 1024, 1, 1)),
        "layer7.1.weight": ("fusion.merge.norm.weight", (256,)),
        "layer7.3.weight": ("fusion.classifier.weight", (20, 256, 1, 1)),
    },
    "ssseg-2020": {f"backbone_net.{key}": value for key, value in _BACKBONE.items()}
    | {
        "backbone_net.stem.0.weight": ("backbone.stem.0.conv.weight", (32, 3, 3, 3)),
        "backbone_net.stem.1.num_batches_tracked": ("backbone.stem.0.norm.num_batches_tracked", ()),
        "backbone_net.stem.3.weight": ("backbone.stem.1.conv.weight", (32, 32, 3, 3)),
        "backbone_net.stem.4.running_mean": ("backbone.stem.1.norm.running_mean", (32,)),
        "backbone_net.stem.6.weight": ("backbone.stem.2.conv.weight", (64, 32, 3, 3)),
        "backbone_net.stem.7.bias": ("backbone.stem.2.norm.bias", (64,)),
        "backbone_net.layer1.0.conv1.weight": ("backbone.layer1.0.branch.0.conv.weight", (64, 64, 1, 1)),
        "ppm_net.branches.0.1.weight": ("pyramid.stages.0.conv.weight", (512, 2048, 1, 1)),
        "ppm_net.branches.3.2.bias": ("pyramid.stages.3.norm.bias", (512,)),
        "ppm_net.fuse_layer.0.weight": ("pyramid.bottleneck.conv.weight", (512, 4096, 3, 3)),
        "ppm_net.fuse_layer.1.num_batches_tracked": ("pyramid.bottleneck.norm.num_batches_tracked", ()),
        "lateral_ppm_layer.0.weight": ("decoder.lateral.conv.weight", (256, 512, 1, 1)),
        "lateral_ppm_layer.1.weight": ("decoder.lateral.norm.weight", (256,)),
        "edge_net.branches.0.0.weight": ("edge.branches.0.conv.weight", (256, 256, 1, 1)),
        "edge_net.branches.2.0.weight": ("edge.branches.2.conv.weight", (256, 1024, 1, 1)),
        "edge_net.edge_conv.weight": ("edge_classifier.shared.weight", (2, 256, 3, 3)),
        "edge_net.fuse_conv.bias": ("edge_classifier.mix.bias", (2,)),
        "shortcut.0.weight": ("decoder.shortcut.conv.weight", (48, 256, 1, 1)),
        "decoder_stage1.0.weight": ("decoder.merge.conv.weight", (256, 304, 1, 1)),
        "decoder_stage1.3.weight": ("decoder.refine.conv.weight", (256, 256, 1, 1)),
        "decoder_stage1.4.running_var": ("decoder.refine.norm.running_var", (256,)),
        "decoder_stage1.7.weight": ("stage1_classifier.weight", (20, 256, 1, 1)),
        "decoder_stage2.0.weight": ("fusion.merge.conv.weight", (256, 1024, 1, 1)),
        "decoder_stage2.1.bias": ("fusion.merge.norm.bias", (256,)),
        "decoder_stage2.4.weight": ("fusion.classifier.weight", (20, 256, 1, 1)),
        "decoder_stage2.4.bias": ("fusion.classifier.bias", (20,)),
    },
    "ssseg": {f"backbone_net.{key}": value for key, value in _BACKBONE.items()}
    | {
        "backbone_net.stem.0.weight": ("backbone.stem.0.conv.weight", (32, 3, 3, 3)),
        "backbone_net.stem.4.weight": ("backbone.stem.1.norm.weight", (32,)),
        "backbone_net.stem.6.weight": ("backbone.stem.2.conv.weight", (64, 32, 3, 3)),
        "ppm_net.branches.1.1.weight": ("pyramid.stages.1.conv.weight", (512, 2048, 1, 1)),
        "ppm_net.bottleneck.0.weight": ("pyramid.bottleneck.conv.weight", (512, 4096, 3, 3)),
        "ppm_net.bottleneck.1.running_mean": ("pyramid.bottleneck.norm.running_mean", (512,)),
        "edge_net.branches.1.0.weight": ("edge.branches.1.conv.weight", (256, 512, 1, 1)),
        "edge_net.branches.1.1.num_batches_tracked": ("edge.branches.1.norm.num_batches_tracked", ()),
        "edge_net.edge_conv.bias": ("edge_classifier.shared.bias", (2,)),
        "edge_net.fuse_conv.weight": ("edge_classifier.mix.weight", (2, 6, 1, 1)),
        "shortcut.0.weight": ("decoder.shortcut.conv.weight", (48, 256, 1, 1)),
        "shortcut.1.running_var": ("decoder.shortcut.norm.running_var", (48,)),
        "decoder_stage1.0.weight": ("decoder.merge.conv.weight", (512, 560, 1, 1)),
        "decoder_stage1.3.weight": ("decoder.refine.conv.weight", (512, 512, 1, 1)),
        "decoder_stage1.7.weight": ("stage1_classifier.weight", (20, 512, 1, 1)),
        "decoder_stage2.0.weight": ("fusion.merge.conv.weight", (512, 1280, 1, 1)),
        "decoder_stage2.1.weight": ("fusion.merge.norm.weight", (512,)),
        "decoder_stage2.3.weight": ("fusion.refine.conv.weight", (512, 512, 1, 1)),
        "decoder_stage2.4.bias": ("fusion.refine.norm.bias", (512,)),
        "decoder_stage2.7.weight": ("fusion.classifier.weight", (20, 512, 1, 1)),
        "decoder_stage2.7.bias": ("fusion.classifier.bias", (20,)),
    },
}


def full_size(family: str, backbone: str) -> State:
    with torch.device("meta"):
        return CE2P(CE2PConfig.of(family, backbone, 16, 20)).state_dict()


@pytest.mark.parametrize(
    ("family", "backbone", "count"),
    [
        ("schp", "r101", 603),
        ("ce2p", "r101", 603),
        ("mce2p", "r101", 593),
        ("ssseg-2020", "r101", 722),
        ("ssseg", "r101", 722),
        ("ssseg-2020", "r50", 416),
        ("ssseg", "r50", 416),
    ],
)
def test_a_file_has_as_many_names_as_published(family: str, backbone: str, count: int) -> None:
    public = in_public_names(family, full_size(family, backbone), counted=family in SSSEG_FAMILIES)
    assert len(public) == count


@pytest.mark.parametrize("family", FAMILIES)
def test_published_names_hold_the_right_part_in_the_right_shape(family: str) -> None:
    state = full_size(family, "r101")
    layout = FAMILIES[family]
    found = {layout.file_key(ours): (ours, tuple(value.shape)) for ours, value in state.items()}
    assert {name: found.get(name) for name in PUBLISHED[family]} == PUBLISHED[family]


def test_ce2p_names_are_schp_names_with_four_parts_renamed() -> None:
    parts = {"context_encoding": "layer5", "edge": "edge_layer", "decoder": "layer6", "fushion": "layer7"}
    renamed = set()
    for key in in_public_names("schp", full_size("schp", "r101")):
        first, _, rest = key.partition(".")
        renamed.add(f"{parts.get(first, first)}.{rest}")
    assert renamed == set(in_public_names("ce2p", full_size("ce2p", "r101")))


@pytest.mark.parametrize("backbone", ["r18", "r50", "r101"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_layout_is_recognised_as_itself_and_no_other(family: str, backbone: str) -> None:
    keys = in_public_names(family, full_size(family, backbone)).keys()
    assert recognise(keys) is FAMILIES[family]
    fitting = [name for name, entry in FAMILIES.items() if all(key in keys for key in entry.signature)]
    assert fitting == [family]


def test_unrelated_names_are_recognised_as_nothing() -> None:
    assert recognise(["conv1.weight", "fc.weight", "fc.bias"]) is None


@pytest.mark.parametrize(("family", "backbone"), [("schp", "r101"), ("ssseg", "r50")])
def test_a_file_of_full_size_is_loaded_as_its_backbone(tmp_path: Path, family: str, backbone: str) -> None:
    """Shapes alone: every tensor is one repeated number, which torch.save stores once."""
    state = {
        key: torch.tensor(1.0 if value.is_floating_point() else 1).to(value.dtype).expand(value.shape)
        for key, value in full_size(family, backbone).items()
    }
    path = tmp_path / "full.pth"
    torch.save(in_public_names(family, state), path)
    loaded = load_checkpoint(path)
    assert (loaded.config.family, loaded.config.backbone, loaded.config.num_classes) == (family, backbone, 20)
    assert loaded.config.base_width == 64


# --- round trips ---


def _save_optimizer_run(state: State, path: Path) -> None:
    momentum = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.01, "params": [0]}]}
    torch.save({"epoch": 150, "model": state, "optimizer": momentum}, path)


def _with_module(state: State) -> State:
    return {f"module.{key}": value for key, value in state.items()}


PACKINGS: dict[str, tuple[str, Callable[[State, Path], Any]]] = {
    "flat": ("net.pth", torch.save),
    "flat, module.": ("net.pth", lambda state, path: torch.save(_with_module(state), path)),
    "state_dict": ("net.pth.tar", lambda state, path: torch.save({"state_dict": _with_module(state)}, path)),
    "state_dict and cycle": ("net.pth.tar", lambda state, path: torch.save({"cycle_n": 5, "state_dict": state}, path)),
    "model": ("net.pt", lambda state, path: torch.save({"model": state}, path)),
    "training run": ("net.pth", _save_optimizer_run),
    "before torch 1.6": (
        "net.pth",
        lambda state, path: torch.save(_with_module(state), path, _use_new_zipfile_serialization=False),
    ),
    "safetensors": ("net.safetensors", save_file),
    "safetensors, module.": ("net.safetensors", lambda state, path: save_file(_with_module(state), path)),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_public_file_comes_back_bit_for_bit(tmp_path: Path, tiny: Tiny, family: str, packing: str) -> None:
    net = tiny(family, 16)
    name, save = PACKINGS[packing]
    save(in_public_names(family, net.state_dict()), tmp_path / name)
    loaded = load_checkpoint(tmp_path / name, output_stride=16)
    assert loaded.config == net.config
    assert loaded.norm == "BatchNorm"
    assert loaded.layout == FAMILIES[family].title
    assert ("module." in loaded.wrapper) == ("module." in packing or packing in {"state_dict", "before torch 1.6"})
    assert not any(module.training for module in loaded.net.modules())
    assert all(parameter.requires_grad for parameter in loaded.net.parameters())
    assert_same_network(loaded.net, net)


def test_batch_counts_come_back(tmp_path: Path, tiny: Tiny) -> None:
    state = in_public_names("ssseg", tiny("ssseg", 8).state_dict())
    state["shortcut.1.num_batches_tracked"] = torch.tensor(115_000)
    torch.save(state, tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth").net.state_dict()
    assert loaded["decoder.shortcut.norm.num_batches_tracked"].item() == 115_000


def test_half_precision_file_becomes_a_float32_network(tmp_path: Path, tiny: Tiny) -> None:
    net = tiny("ssseg", 8)
    halves = {key: value.half() if value.is_floating_point() else value for key, value in net.state_dict().items()}
    torch.save(in_public_names("ssseg", halves), tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth")
    expected = copy.deepcopy(net)
    expected.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in halves.items()})
    assert {parameter.dtype for parameter in loaded.net.parameters()} == {torch.float32}
    assert_same_network(loaded.net, expected)


@pytest.mark.parametrize("classes", [2, 5, 7, 18, 21, 59])
def test_class_count_is_read_from_the_file(tmp_path: Path, tiny: Tiny, classes: int) -> None:
    torch.save(in_public_names("schp", tiny("schp", 16, classes).state_dict()), tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth")
    assert loaded.config.num_classes == loaded.labels.num_classes == classes
    assert loaded.notes == ()


def test_fingerprint_is_the_files_sha256(tmp_path: Path, tiny: Tiny) -> None:
    path = tmp_path / "net.pth"
    torch.save(in_public_names("schp", tiny("schp", 16).state_dict()), path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_checkpoint(path).sha256 == file_sha256(path) == expected


def test_safetensors_header_whose_length_reads_like_html_is_loaded(tmp_path: Path, tiny: Tiny) -> None:
    """A header of 80,928 bytes starts the file with ' <'; ResNet-101's header is about that long."""
    path = tmp_path / "net.safetensors"
    save_file(in_public_names("schp", tiny("schp", 16).state_dict()), path)
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:end].ljust(80_928)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[end:])
    assert path.read_bytes().startswith(b" <")
    assert_same_network(load_checkpoint(path).net, tiny("schp", 16))


# --- InPlaceABN ---


class InPlaceABN(nn.Module):
    """The published formula, in double precision, with the weight as the file holds it."""

    def __init__(self, norm: nn.BatchNorm2d, gamma: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.mean, self.var = norm.running_mean.double(), norm.running_var.double()
        self.scale, self.shift = gamma(norm.weight.detach().double()), norm.bias.detach().double()

    def forward(self, x: Tensor) -> Tensor:
        mean, var, scale, shift = (v.view(1, -1, 1, 1) for v in (self.mean, self.var, self.scale, self.shift))
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift


def as_published(weight: Tensor) -> Tensor:
    return weight.abs() + 1e-5


def without_eps(weight: Tensor) -> Tensor:
    return weight.abs()


def as_it_stands(weight: Tensor) -> Tensor:
    return weight


def one_as_it_stands(weight: Tensor) -> Tensor:
    """The published conversion, except for the first negative weight."""
    scale = as_published(weight)
    first = int((weight < 0).nonzero()[0])
    scale[first] = weight[first]
    return scale


def signed(net: CE2P) -> CE2P:
    """A copy whose norm weights have random signs, as InPlaceABN training leaves them."""
    net = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.mul_(torch.randint(0, 2, module.weight.shape, generator=generator) * 2 - 1)
    return net


def normalised_by(net: CE2P, gamma: Callable[[Tensor], Tensor], only: str = "") -> CE2P:
    """A double-precision copy with InPlaceABN for BatchNorm; `only` limits `gamma` to one module."""
    net = copy.deepcopy(net).double()
    for name, module in net.named_modules():
        if isinstance(module, ConvNormAct):
            assert isinstance(module.norm, nn.BatchNorm2d)
            module.norm = InPlaceABN(module.norm, gamma if only in ("", name) else as_published)
    return net


def distance(found: CE2P, expected: CE2P) -> float:
    """Relative L2 difference of the parsing logits, in double precision."""
    with torch.no_grad():
        ours, theirs = (net(picture(97).double()).parsing for net in (copy.deepcopy(found).double(), expected))
    return float((ours - theirs).norm() / theirs.norm())


TOLERANCE = 2e-6
"""Found: 3e-7 to 6e-7, from rounding |w| + 1e-5 to float32; without eps 3e-4 to 5e-4, one raw gamma 4e-2."""


def inplace_abn_file(net: CE2P, family: str, path: Path) -> Path:
    torch.save(_with_module(in_public_names(family, net.state_dict(), counted=False)), path)
    return path


@pytest.mark.parametrize("family", INPLACE_ABN_FAMILIES)
def test_inplace_abn_file_computes_the_published_formula(tmp_path: Path, tiny: Tiny, family: str) -> None:
    net = signed(tiny(family, 16))
    loaded = load_checkpoint(inplace_abn_file(net, family, tmp_path / "net.pth"))
    assert loaded.norm.startswith("InPlaceABN")
    assert distance(loaded.net, normalised_by(net, as_published)) < TOLERANCE


@pytest.mark.parametrize("family", INPLACE_ABN_FAMILIES)
def test_every_norm_of_an_inplace_abn_file_is_converted_and_nothing_else(
    tmp_path: Path, tiny: Tiny, family: str
) -> None:
    net = signed(tiny(family, 16))
    loaded = load_checkpoint(inplace_abn_file(net, family, tmp_path / "net.pth")).net.state_dict()
    gammas = {f"{name}.weight" for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for key, value in net.state_dict().items():
        if key.endswith("num_batches_tracked"):
            assert loaded[key] == 0
        else:
            assert torch.equal(loaded[key], value.abs() + 1e-5 if key in gammas else value), key


@pytest.mark.parametrize(
    ("mistake", "only"),
    [(without_eps, ""), (as_it_stands, ""), (one_as_it_stands, "fusion.merge"), (one_as_it_stands, "decoder.shortcut")],
)
def test_the_tolerance_tells_a_wrong_conversion_from_the_right_one(
    tmp_path: Path, tiny: Tiny, mistake: Callable[[Tensor], Tensor], only: str
) -> None:
    net = signed(tiny("schp", 16))
    loaded = load_checkpoint(inplace_abn_file(net, "schp", tmp_path / "net.pth"))
    assert distance(loaded.net, normalised_by(net, mistake, only)) > 100 * TOLERANCE


def first_generation(net: CE2P, counted: bool) -> State:
    """SCHP's files of 2019: real BatchNorm, wrapped in the head, so that its names carry `.bn.` there."""
    state = {}
    for ours, value in net.state_dict().items():
        if ours.endswith("num_batches_tracked") and not counted:
            continue
        module, _, parameter = FAMILIES["schp"].file_key(ours).rpartition(".")
        in_head = ".norm." in ours and not ours.startswith("backbone.")
        state[f"{module}.bn.{parameter}" if in_head else f"{module}.{parameter}"] = value
    return state


@pytest.mark.parametrize("prefixed", [False, True], ids=["bare", "module."])
@pytest.mark.parametrize("counted", [False, True], ids=["uncounted", "counted"])
def test_first_generation_of_schp_keeps_its_negative_gammas(
    tmp_path: Path, tiny: Tiny, counted: bool, prefixed: bool
) -> None:
    net = signed(tiny("schp", 16))
    state = first_generation(net, counted)
    assert "context_encoding.stages.0.2.bn.weight" in state
    assert "fushion.1.bn.running_var" in state
    assert "bn1.weight" in state
    torch.save(_with_module(state) if prefixed else state, tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth")
    assert loaded.norm == "BatchNorm"
    assert (loaded.net.state_dict()["fusion.merge.norm.weight"] < 0).any()
    assert_same_network(loaded.net, net)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_that_counts_batches_keeps_its_negative_gammas(tmp_path: Path, tiny: Tiny, family: str) -> None:
    net = signed(tiny(family, 16))
    torch.save(in_public_names(family, net.state_dict()), tmp_path / "net.pth")
    assert_same_network(load_checkpoint(tmp_path / "net.pth", output_stride=16).net, net)


# --- output stride, labels, notes ---


@pytest.mark.parametrize(
    ("family", "default", "noted"),
    [("ssseg", 8, True), ("ssseg-2020", 16, True), ("ce2p", 16, False), ("schp", 16, False), ("mce2p", 16, False)],
)
def test_output_stride_is_assumed_with_a_note_where_the_file_does_not_tell(
    tmp_path: Path, tiny: Tiny, family: str, default: int, noted: bool
) -> None:
    torch.save(in_public_names(family, tiny(family, 16, 18).state_dict()), tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth")
    assert loaded.config.output_stride == default
    assert len(loaded.notes) == noted
    if noted:
        other = 24 - default
        assert f"output stride {default} assumed" in loaded.notes[0]
        assert f"--os {other}" in loaded.notes[0]


@pytest.mark.parametrize(("family", "stride"), [("ssseg", 16), ("ssseg-2020", 8), ("ssseg", 8), ("schp", 8)])
def test_output_stride_that_is_asked_for_is_built_without_a_note(
    tmp_path: Path, tiny: Tiny, family: str, stride: int
) -> None:
    net = tiny(family, stride, 18)
    torch.save(in_public_names(family, net.state_dict()), tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth", output_stride=stride)
    assert loaded.config.output_stride == stride
    assert loaded.notes == ()
    assert_same_network(loaded.net, net)


def test_twenty_classes_are_lip_with_a_note_and_cihp_on_request(tmp_path: Path, tiny: Tiny) -> None:
    path = tmp_path / "net.pth"
    torch.save(in_public_names("schp", tiny("schp", 16).state_dict()), path)
    assumed, asked = load_checkpoint(path), load_checkpoint(path, dataset="cihp")
    assert assumed.labels.dataset == "lip"
    assert len(assumed.notes) == 1
    assert "--dataset cihp" in assumed.notes[0]
    assert asked.labels.dataset == "cihp"
    assert asked.labels.names[10] == "Torso-skin"
    assert asked.notes == ()


def test_weights_of_a_public_file_are_described_by_its_name(tmp_path: Path, tiny: Tiny) -> None:
    torch.save(in_public_names("schp", tiny("schp", 16).state_dict()), tmp_path / "exp-schp-lip.pth")
    assert "exp-schp-lip.pth" in load_checkpoint(tmp_path / "exp-schp-lip.pth").weights


# --- own format ---


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("family", FAMILIES)
def test_own_format_comes_back_whole_without_options(tmp_path: Path, tiny: Tiny, family: str, stride: int) -> None:
    net = signed(tiny(family, stride))
    path = save_checkpoint(tmp_path / "sub" / "own.safetensors", net, "cihp", "trained 3 days", {"lr": 0.1})
    loaded = load_checkpoint(path)
    assert loaded.config == net.config
    assert loaded.labels.dataset == "cihp"
    assert (loaded.weights, loaded.training) == ("trained 3 days", {"lr": 0.1})
    assert (loaded.layout, loaded.norm, loaded.notes) == ("ce2p", "BatchNorm", ())
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert_same_network(loaded.net, net)


def test_own_format_keeps_custom_classes(tmp_path: Path, tiny: Tiny) -> None:
    path = save_checkpoint(tmp_path / "own.safetensors", tiny("ssseg", 8, 5), "custom", "random", untrained=True)
    loaded = load_checkpoint(path)
    assert loaded.untrained
    assert loaded.labels.dataset == "custom"
    assert loaded.labels.num_classes == 5
    assert loaded.training == {}


def test_own_format_knows_its_data_set_and_refuses_to_be_of_another(tmp_path: Path, tiny: Tiny) -> None:
    path = save_checkpoint(tmp_path / "own.safetensors", tiny("schp", 16), "lip", "untrained")
    assert load_checkpoint(path, dataset="lip", output_stride=16).labels.dataset == "lip"
    with pytest.raises(CheckpointError, match=r"trained on the classes of Look into Person, --dataset cihp asked for"):
        load_checkpoint(path, dataset="cihp")
    named = LabelSet("custom", "shop", ("Background", *(f"part {index}" for index in range(1, 20))))
    path = save_checkpoint(tmp_path / "named.safetensors", tiny("schp", 16), named, "untrained")
    with pytest.raises(CheckpointError, match="trained on the classes of shop, --dataset lip asked for"):
        load_checkpoint(path, dataset="lip")


def test_own_format_without_class_names_takes_those_asked_for(tmp_path: Path, tiny: Tiny) -> None:
    path = save_checkpoint(tmp_path / "own.safetensors", tiny("schp", 16), "custom", "untrained")
    assert load_checkpoint(path, dataset="cihp").labels.dataset == "cihp"


def test_own_format_is_one_json_document_beside_the_tensors(tmp_path: Path, tiny: Tiny) -> None:
    path = save_checkpoint(tmp_path / "own.safetensors", tiny("schp", 16), "lip", "untrained")
    with safe_open(path, framework="pt") as file:
        document = json.loads(file.metadata()["ce2p"])
        assert set(file.keys()) == set(tiny("schp", 16).state_dict())
    assert document["config"]["family"] == "schp"
    assert document["dataset"] == "lip"


def test_own_format_is_refused_under_another_suffix(tmp_path: Path, tiny: Tiny) -> None:
    with pytest.raises(ValueError, match=r"net\.pth"):
        save_checkpoint(tmp_path / "net.pth", tiny("schp", 16), "lip", "untrained")
    assert list(tmp_path.iterdir()) == []


def test_a_crash_while_saving_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(b"the old file")

    def disk_full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(own_format, "save", disk_full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, tiny("schp", 16), "lip", "untrained")
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


def test_own_format_at_another_stride_than_trained_is_refused(tmp_path: Path, tiny: Tiny) -> None:
    path = save_checkpoint(tmp_path / "own.safetensors", tiny("ssseg", 8), "lip", "untrained")
    with pytest.raises(CheckpointError, match=r"own\.safetensors: trained at output stride 8, --os 16"):
        load_checkpoint(path, output_stride=16)
