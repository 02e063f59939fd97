"""sssegmentation's CE2P of 2020: ssseg/modules/models/ at 7f4b9a1d, ssseg/configs/_base_/datasets/."""

from dataclasses import replace

from .ce2p import CE2P
from .entry import CheckpointKeys, Family, Geometry, Normalisation, Preprocessing, Rules, blocks, pair


def ssseg_rules(*, bottleneck: str, classifier: int) -> Rules:
    """sssegmentation's names, 2020 and now."""
    stem = (
        rule
        for i in range(3)
        for rule in pair(rf"backbone\.stem\.{i}", f"backbone_net.stem.{3 * i}", f"backbone_net.stem.{3 * i + 1}")
    )
    return (
        *stem,
        *blocks("backbone_net."),
        *pair(r"pyramid\.stages\.(\d)", r"ppm_net.branches.\1.1", r"ppm_net.branches.\1.2"),
        *pair(r"pyramid\.bottleneck", f"ppm_net.{bottleneck}.0", f"ppm_net.{bottleneck}.1"),
        *pair(r"decoder\.lateral", "lateral_ppm_layer.0", "lateral_ppm_layer.1"),
        *pair(r"edge\.branches\.(\d)", r"edge_net.branches.\1.0", r"edge_net.branches.\1.1"),
        (r"edge_classifier\.shared", "edge_net.edge_conv"),
        (r"edge_classifier\.mix", "edge_net.fuse_conv"),
        *pair(r"decoder\.shortcut", "shortcut.0", "shortcut.1"),
        *pair(r"decoder\.merge", "decoder_stage1.0", "decoder_stage1.1"),
        *pair(r"decoder\.refine", "decoder_stage1.3", "decoder_stage1.4"),
        ("stage1_classifier", "decoder_stage1.7"),
        *pair(r"fusion\.merge", "decoder_stage2.0", "decoder_stage2.1"),
        *pair(r"fusion\.refine", "decoder_stage2.3", "decoder_stage2.4"),
        (r"fusion\.classifier", f"decoder_stage2.{classifier}"),
    )


SSSEG_2020 = Family(
    name="ssseg-2020",
    wiring=replace(
        CE2P.wiring, stem="deep-64", half_dilated_first_block=True, align_corners=False, pyramid_input_first=True
    ),
    keys=CheckpointKeys(
        title="sssegmentation 2020",
        signature=("lateral_ppm_layer.0.weight", "ppm_net.fuse_layer.0.weight", "decoder_stage2.4.weight"),
        rules=ssseg_rules(bottleneck="fuse_layer", classifier=4),
    ),
    strides=(16, 8),
    preprocessing=Preprocessing(
        Normalisation("rgb", 1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        Geometry("resize", half_pixel=False, centre="float", unwarp="logits"),
    ),
    input_size=473,
    site_colours=True,
)
