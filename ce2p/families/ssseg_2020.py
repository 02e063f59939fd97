"""sssegmentation's CE2P of 2020: ssseg/modules/models/ at 7f4b9a1d, ssseg/configs/_base_/datasets/."""

from dataclasses import replace
from itertools import chain

from .ce2p import CE2P
from .entry import Family, Geometry, Normalisation, Preprocessing, Rules, blocks, pairs


def ssseg_rules(*, bottleneck: str, classifier: int) -> Rules:
    """sssegmentation's names, 2020 and now."""
    stem = (pairs(rf"backbone\.stem\.{i}", "backbone_net.stem", 3 * i) for i in range(3))
    return (
        *chain.from_iterable(stem),
        *blocks("backbone_net."),
        *pairs(r"pyramid\.stages\.(\d)", r"ppm_net.branches.\1", 1),
        *pairs(r"pyramid\.bottleneck", f"ppm_net.{bottleneck}"),
        *pairs(r"decoder\.lateral", "lateral_ppm_layer"),
        *pairs(r"edge\.branches\.(\d)", r"edge_net.branches.\1"),
        (r"edge_classifier\.shared", "edge_net.edge_conv"),
        (r"edge_classifier\.mix", "edge_net.fuse_conv"),
        *pairs(r"decoder\.shortcut", "shortcut"),
        *pairs(r"decoder\.merge", "decoder_stage1"),
        *pairs(r"decoder\.refine", "decoder_stage1", 3),
        ("stage1_classifier", "decoder_stage1.7"),
        *pairs(r"fusion\.merge", "decoder_stage2"),
        *pairs(r"fusion\.refine", "decoder_stage2", 3),
        (r"fusion\.classifier", f"decoder_stage2.{classifier}"),
    )


SSSEG_2020 = Family(
    name="ssseg-2020",
    wiring=replace(
        CE2P.wiring, stem="deep-64", half_dilated_first_block=True, align_corners=False, pyramid_input_first=True
    ),
    title="sssegmentation 2020",
    signature=("lateral_ppm_layer.0.weight", "ppm_net.fuse_layer.0.weight", "decoder_stage2.4.weight"),
    rules=ssseg_rules(bottleneck="fuse_layer", classifier=4),
    inplace_abn=False,
    strides=(16, 8),
    preprocessing=Preprocessing(
        Normalisation("rgb", 1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        Geometry("resize", half_pixel=False, centre="float", unwarp="logits"),
    ),
    input_size=473,
    site_colours=True,
)
