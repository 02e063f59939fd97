"""Networks: published sizes and costs, shapes, dilations, interpolation, and what configurations refuse."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ce2p.errors import ConfigError
from ce2p.families import FAMILIES
from ce2p.flops import count_flops, count_parameters
from ce2p.models import CE2P, CE2PConfig, model_names, parse_model_name, untrained
from ce2p.models.backbone import Bottleneck
from ce2p.models.heads import PYRAMID_BINS, PyramidPooling
from ce2p.models.network import CE2POutputs

Tiny = Callable[..., CE2P]


def on_paper(family: str, backbone: str, stride: int, classes: int) -> CE2P:
    """A network of full size without memory behind it."""
    with torch.device("meta"):
        return CE2P(CE2PConfig.of(family, backbone, stride, classes)).eval()


def shapes(net: CE2P, *size: int) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return tuple(net.backbone(torch.empty(1, 3, *size, device="meta")))


# Published sizes: reference document, sections 2.6 and 12.
@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize(
    ("family", "backbone", "classes", "parameters"),
    [
        ("ce2p", "r101", 20, 66_723_928),
        ("schp", "r101", 20, 66_723_928),
        ("schp", "r101", 18, 66_722_900),
        ("schp", "r101", 7, 66_717_246),
        ("mce2p", "r101", 20, 66_600_152),
        ("ssseg-2020", "r101", 20, 66_619_384),
        ("ssseg-2020", "r50", 20, 47_627_256),
        ("ssseg", "r101", 20, 67_561_464),
        ("ssseg", "r50", 20, 48_569_336),
        ("ce2p", "r50", 20, 47_731_800),
    ],
)
def test_parameter_count_is_the_published_one(
    family: str, backbone: str, stride: int, classes: int, parameters: int
) -> None:
    assert count_parameters(on_paper(family, backbone, stride, classes)) == parameters


@pytest.mark.parametrize("family", ["ce2p", "schp"])
def test_parameters_and_statistics_together_are_the_floats_of_the_public_267_mb_files(family: str) -> None:
    net = on_paper(family, "r101", 16, 20)
    floats = sum(value.numel() for value in net.state_dict().values() if value.is_floating_point())
    assert floats == 66_838_456
    assert sum(m.num_features for m in net.modules() if isinstance(m, nn.BatchNorm2d)) == 57_264


@pytest.mark.parametrize(
    ("family", "backbone", "norms", "leaky"),
    [
        ("ce2p", "r101", 119, 13),
        ("schp", "r101", 119, 13),
        ("mce2p", "r101", 117, 5),
        ("ssseg", "r50", 68, 13),
        ("ssseg-2020", "r50", 68, 13),
    ],
)
def test_norms_and_leaky_activations_are_as_many_as_published(
    family: str, backbone: str, norms: int, leaky: int
) -> None:
    modules = list(on_paper(family, backbone, 16, 20).modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in modules) == norms
    slopes = [m.negative_slope for m in modules if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.01] * leaky


def test_leaky_activations_sit_in_the_head_only() -> None:
    for family in FAMILIES:
        backbone = on_paper(family, "r50", 16, 20).backbone
        assert not any(isinstance(m, nn.LeakyReLU) for m in backbone.modules())


@pytest.mark.parametrize(
    ("family", "backbone", "stride", "classes", "side", "giga_macs"),
    [
        ("schp", "r101", 16, 20, 473, 76.5),
        ("ce2p", "r101", 8, 20, 473, 238.8),
        ("ce2p", "r101", 16, 20, 384, 49.2),
        ("schp", "r101", 16, 18, 512, 87.4),
        ("schp", "r101", 16, 7, 512, 87.3),
        ("mce2p", "r101", 16, 20, 473, 70.4),
        ("ce2p", "r50", 16, 20, 473, 59.4),
        ("ce2p", "r50", 8, 20, 473, 170.6),
    ],
)
def test_cost_is_the_published_one(
    family: str, backbone: str, stride: int, classes: int, side: int, giga_macs: float
) -> None:
    flops = count_flops(on_paper(family, backbone, stride, classes), side, side)
    assert round(flops / 2e9, 1) == giga_macs


def test_schp_at_473_costs_152_97_gflops() -> None:
    assert count_flops(on_paper("schp", "r101", 16, 20), 473, 473) / 1e9 == pytest.approx(152.97, abs=0.005)


def test_counting_flops_leaves_the_network_where_and_as_it_was(tiny: Tiny) -> None:
    net = copy.deepcopy(tiny("schp", 16)).train()
    count_flops(net, 65, 65)
    assert net.training
    assert {parameter.device.type for parameter in net.parameters()} == {"cpu"}


# Section 2.1: x2, x3, x4, x5 at each size; section 12: ceil pooling gives S/4+1 where S divides by 4.
@pytest.mark.parametrize(
    ("family", "stride", "side", "sides"),
    [
        ("schp", 16, 473, (119, 60, 30, 30)),
        ("schp", 8, 473, (119, 60, 60, 60)),
        ("ce2p", 16, 384, (96, 48, 24, 24)),
        ("schp", 16, 512, (128, 64, 32, 32)),
        ("ssseg", 8, 473, (119, 60, 60, 60)),
        ("ssseg-2020", 16, 473, (119, 60, 30, 30)),
        ("ssseg", 16, 512, (128, 64, 32, 32)),
        ("mce2p", 16, 473, (119, 60, 30, 30)),
        ("mce2p", 16, 384, (97, 49, 25, 25)),
        ("mce2p", 16, 512, (129, 65, 33, 33)),
    ],
)
def test_feature_maps_have_the_published_sizes(family: str, stride: int, side: int, sides: tuple[int, ...]) -> None:
    net = on_paper(family, "r101", stride, 20)
    features = shapes(net, side, side)
    assert tuple(x.shape for x in features) == tuple(
        (1, channels, s, s) for channels, s in zip((256, 512, 1024, 2048), sides, strict=True)
    )
    with torch.no_grad():
        outputs = net(torch.empty(1, 3, side, side, device="meta"))
    assert outputs.parsing.shape == (1, 20, sides[0], sides[0])
    assert outputs.stage1.shape == (1, 20, sides[0], sides[0])
    assert outputs.edge.shape == (1, 2, sides[0], sides[0])


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("family", FAMILIES)
def test_odd_oblong_batches_give_three_finite_quarter_size_outputs(tiny: Tiny, family: str, stride: int) -> None:
    image = torch.randn(2, 3, 48, 71, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = tiny(family, stride, 7)(image)
    high, wide = (13, 19) if family == "mce2p" else (12, 18)
    assert isinstance(outputs, CE2POutputs)
    assert outputs.parsing.shape == (2, 7, high, wide)
    assert outputs.stage1 is not None
    assert outputs.stage1.shape == (2, 7, high, wide)
    assert outputs.edge is not None
    assert outputs.edge.shape == (2, 2, high, wide)
    assert all(torch.isfinite(x).all() for x in outputs if x is not None)


def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch(tiny: Tiny) -> None:
    images = torch.randn(2, 3, 65, 65, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        both, alone = tiny("ce2p", 16)(images), tiny("ce2p", 16)(images[1:])
    torch.testing.assert_close(both.parsing[1:], alone.parsing, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_dropped_heads_give_none_and_leave_the_parsing_bit_for_bit(tiny: Tiny, family: str) -> None:
    net = copy.deepcopy(tiny(family, 16))
    image = torch.randn(1, 3, 65, 65, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = net(image).parsing
        net.stage1_classifier = None
        net.edge_classifier = None
        after = net(image)
    assert after.stage1 is None
    assert after.edge is None
    assert torch.equal(after.parsing, before)


def dilations(stage: nn.Module) -> list[int]:
    """Dilation of each block's 3x3 convolutions."""
    assert isinstance(stage, nn.Sequential)
    per_block = []
    for block in stage:
        found = {m.dilation[0] for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)}
        paddings = {m.padding[0] for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)}
        assert found == paddings, "a 3x3 convolution keeps the size when its padding is its dilation"
        assert len(found) == 1
        per_block.append(found.pop())
    return per_block


@pytest.mark.parametrize(
    ("family", "stride", "layer3", "layer4"),
    [
        ("ce2p", 16, [1] * 6, [2, 2, 2]),
        ("schp", 16, [1] * 6, [2, 2, 2]),
        ("mce2p", 16, [1] * 6, [2, 2, 2]),
        ("schp", 8, [2] * 6, [4, 4, 4]),
        ("ssseg", 16, [1] * 6, [1, 2, 2]),
        ("ssseg-2020", 16, [1] * 6, [1, 2, 2]),
        ("ssseg", 8, [1, 2, 2, 2, 2, 2], [2, 4, 4]),
        ("ssseg-2020", 8, [1, 2, 2, 2, 2, 2], [2, 4, 4]),
    ],
)
def test_only_sssegmentation_halves_the_dilation_of_a_stages_first_block(
    family: str, stride: int, layer3: list[int], layer4: list[int]
) -> None:
    backbone = on_paper(family, "r50", stride, 20).backbone
    assert dilations(backbone.layer1) == [1] * 3
    assert dilations(backbone.layer2) == [1] * 4
    assert dilations(backbone.layer3) == layer3
    assert dilations(backbone.layer4) == layer4


def test_a_bottleneck_strides_on_its_3x3_convolution() -> None:
    first = on_paper("schp", "r50", 16, 20).backbone.layer2[0]
    assert isinstance(first, Bottleneck)
    strides = [(m.kernel_size[0], m.stride[0]) for m in first.branch.modules() if isinstance(m, nn.Conv2d)]
    assert strides == [(1, 1), (3, 2), (1, 1)]


@pytest.mark.parametrize(
    ("family", "stem"),
    [
        ("ce2p", [(64, 3, 3), (64, 64, 3), (128, 64, 3)]),
        ("schp", [(64, 3, 3), (64, 64, 3), (128, 64, 3)]),
        ("mce2p", [(64, 3, 7)]),
        ("ssseg", [(32, 3, 3), (32, 32, 3), (64, 32, 3)]),
        ("ssseg-2020", [(32, 3, 3), (32, 32, 3), (64, 32, 3)]),
    ],
)
def test_stem_is_the_familys_own(family: str, stem: list[tuple[int, int, int]]) -> None:
    convolutions = [m for m in on_paper(family, "r50", 16, 20).backbone.stem.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.out_channels, m.in_channels, m.kernel_size[0]) for m in convolutions] == stem
    assert [m.stride[0] for m in convolutions] == [2, 1, 1][: len(stem)]


@pytest.mark.parametrize("family", FAMILIES)
def test_pyramid_concatenates_in_the_familys_order(tiny: Tiny, family: str) -> None:
    """[1, 2, 3, 6, x] in CE2P, SCHP and M-CE2P; [x, 1, 2, 3, 6] in sssegmentation."""
    config = tiny(family, 16).config
    pyramid = PyramidPooling(config, 5)
    pyramid.stages = nn.ModuleList(nn.Identity() for _ in PYRAMID_BINS)
    pyramid.bottleneck = nn.Identity()  # type: ignore[assignment]
    x = torch.randn(1, 5, 9, 8, generator=torch.Generator().manual_seed(0))
    pooled = [
        F.interpolate(F.adaptive_avg_pool2d(x, bins), (9, 8), mode="bilinear", align_corners=config.align_corners)
        for bins in (1, 2, 3, 6)
    ]
    expected = [x, *pooled] if family.startswith("ssseg") else [*pooled, x]
    assert torch.equal(pyramid(x), torch.cat(expected, dim=1))


@pytest.mark.parametrize(
    ("family", "align_corners"),
    [("ce2p", True), ("schp", True), ("mce2p", True), ("ssseg", False), ("ssseg-2020", False)],
)
def test_every_interpolation_follows_the_familys_corner_convention(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, family: str, align_corners: bool
) -> None:
    seen: list[tuple[Any, Any]] = []
    real = F.interpolate

    def spy(*args: Any, **options: Any) -> Tensor:
        seen.append((options["mode"], options["align_corners"]))
        return real(*args, **options)

    monkeypatch.setattr(F, "interpolate", spy)
    with torch.no_grad():
        tiny(family, 16)(torch.zeros(1, 3, 65, 65))
    # Four pyramid scales, one in the decoder, two each for edge logits and edge features.
    assert seen == [("bilinear", align_corners)] * 9


@pytest.mark.parametrize(
    ("family", "slope", "dropout"),
    [("ce2p", 0.01, 0.1), ("schp", 0.01, 0.1), ("mce2p", 0.0, 0.0), ("ssseg", 0.01, 0.1), ("ssseg-2020", 0.01, 0.1)],
)
def test_heads_activate_and_drop_out_as_the_family_does(family: str, slope: float, dropout: float) -> None:
    net = on_paper(family, "r50", 16, 20)
    for part in (net.edge, net.decoder, net.fusion):
        slopes = {m.negative_slope for m in part.modules() if isinstance(m, nn.LeakyReLU)}
        slopes |= {0.0 for m in part.modules() if isinstance(m, nn.ReLU)}
        assert slopes == {slope}
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout2d)] == [dropout]


def test_lateral_layer_and_second_fusion_layer_exist_where_published() -> None:
    keys = {family: set(on_paper(family, "r50", 16, 20).state_dict()) for family in FAMILIES}
    lateral = {family for family in FAMILIES if "decoder.lateral.conv.weight" in keys[family]}
    second = {family for family in FAMILIES if "fusion.refine.conv.weight" in keys[family]}
    assert lateral == {family for family in FAMILIES if FAMILIES[family].wiring.lateral}
    assert second == {family for family in FAMILIES if FAMILIES[family].wiring.fusion_layers == 2}
    published = {"ce2p", "schp", "mce2p", "ssseg-2020", "ssseg"}
    assert (lateral & published, second & published) == (published - {"ssseg"}, {"ssseg"})


def test_untrained_depends_on_the_seed_alone() -> None:
    config = CE2PConfig.of("schp", "r18", 16, 5)
    torch.manual_seed(1)
    first = untrained(config, seed=3).state_dict()
    torch.manual_seed(2)
    second = untrained(config, seed=3).state_dict()
    other = untrained(config, seed=4).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["backbone.stem.0.conv.weight"], other["backbone.stem.0.conv.weight"])
    assert not torch.equal(first["backbone.stem.0.norm.weight"], other["backbone.stem.0.norm.weight"])
    assert not torch.equal(first["backbone.stem.0.norm.running_var"], other["backbone.stem.0.norm.running_var"])


def test_untrained_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    untrained(CE2PConfig.of("ce2p", "r18", 16, 5), seed=7)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_untrained_is_in_eval_mode_finite_and_not_constant(tiny: Tiny, family: str) -> None:
    net = tiny(family, 16)
    assert not any(module.training for module in net.modules())
    assert all(m.momentum == 0.1 for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    with torch.no_grad():
        logits = net(torch.randn(1, 3, 65, 65, generator=torch.Generator().manual_seed(0))).parsing
    assert torch.isfinite(logits).all()
    assert logits.argmax(1).unique().numel() > 1


def fields(**changes: Any) -> dict[str, Any]:
    return CE2PConfig.of("schp", "r101", 16, 20).to_dict() | changes


def test_configuration_survives_its_dictionary() -> None:
    for family in FAMILIES:
        for backbone in ("r18", "r50", "r101"):
            config = CE2PConfig.of(family, backbone, 8, 20)
            assert CE2PConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "deeplab"}, "family is 'deeplab'"),
        ({"backbone": "r34"}, "backbone is 'r34'"),
        ({"output_stride": 32}, "output_stride is 32"),
        ({"num_classes": 1}, "num_classes is 1"),
        ({"num_classes": 256}, "num_classes is 256"),
        ({"stem": "5x5"}, "stem is '5x5'"),
        ({"fusion_layers": 3}, "fusion_layers is 3"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_configuration_refuses_a_wrong_value_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CE2PConfig.from_dict(fields(**change))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_configuration_refuses_a_missing_field_by_name() -> None:
    incomplete = fields()
    del incomplete["align_corners"]
    with pytest.raises(ConfigError, match="align_corners"):
        CE2PConfig.from_dict(incomplete)


@pytest.mark.parametrize("classes", [2, 255])
def test_configuration_accepts_the_extreme_class_counts(classes: int) -> None:
    assert CE2PConfig.of("ssseg", "r50", 8, classes).num_classes == classes


@pytest.mark.parametrize(
    ("family", "backbone", "stride"), [("pspnet", "r50", 16), ("schp", "r34", 16), ("schp", "r50", 4)]
)
def test_config_of_refuses_unknown_parts_and_lists_the_known(family: str, backbone: str, stride: int) -> None:
    with pytest.raises(ConfigError, match=r"schp|r101|16"):
        CE2PConfig.of(family, backbone, stride, 20)


def expected_names() -> Iterator[str]:
    for dataset in ("voc", "lip", "cihp", "atr", "ppp"):
        for backbone in ("r18", "r50", "r101"):
            yield f"{dataset}-{backbone}-os8"
            yield f"{dataset}-{backbone}-os16"


def test_model_names_cover_the_result_tables() -> None:
    assert set(expected_names()) <= set(model_names())


def test_every_model_name_parses_into_its_parts() -> None:
    for name in model_names():
        dataset, backbone, stride = parse_model_name(name)
        assert f"{dataset}-{backbone}-os{stride}" == name
    assert parse_model_name("lip-r101-os16") == ("lip", "r101", 16)
    assert parse_model_name("ppp-r18-os8") == ("ppp", "r18", 8)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "lip",
        "lip-r101",
        "lip-r101-os32",
        "LIP-r101-os16",
        "mhp-r101-os16",
        "lip-r34-os16",
        "lip-r101-os16 ",
        "lip-r101-os16\n",
        "xlip-r101-os16",
        "lip_r101_os16",
    ],
)
def test_other_model_names_are_refused_with_the_pattern(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_model_name(name)
    assert repr(name) in str(caught.value)
    assert "lip-r101-os16" in str(caught.value)
    assert "\n" not in str(caught.value)
