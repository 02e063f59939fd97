"""The names under which each public code base stores the same network, and how to tell them apart.

Our own names are the reference; a layout is a list of rules from our module names to the file's. Layouts were read
in the sources named in `ce2p.models.config`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ..models.config import Family

__all__ = ["LAYOUTS", "Layout", "recognise"]

Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Layout:
    """How one code base names the parts of the network."""

    title: str
    family: Family
    signature: tuple[str, ...]
    """Keys that all must be present for a file to be of this layout."""
    rules: Rules
    """(pattern of our module name, replacement); the first full match wins."""
    inplace_abn: bool = False
    """Whether its norms are InPlaceABN when the file carries no `num_batches_tracked`."""

    def file_key(self, our_key: str) -> str:
        """`backbone.layer1.0.conv1.norm.bias` -> the key in the file, e.g. `layer1.0.bn1.bias`."""
        module, _, parameter = our_key.rpartition(".")
        for pattern, replacement in self.rules:
            if re.fullmatch(pattern, module):
                return f"{re.sub(pattern, replacement, module)}.{parameter}"
        raise LookupError(f"layout {self.title} has no rule for {our_key}")


def _pair(ours: str, conv: str, norm: str) -> Rules:
    """Rules for one ConvNormAct."""
    return (rf"{ours}\.conv", conv), (rf"{ours}\.norm", norm)


def _blocks(prefix: str) -> Rules:
    """The residual blocks, named as torchvision does, in every layout."""
    block = r"backbone\.(layer\d\.\d+)"
    return (
        *(
            rule
            for i in range(3)
            for rule in _pair(rf"{block}\.branch\.{i}", rf"{prefix}\1.conv{i + 1}", rf"{prefix}\1.bn{i + 1}")
        ),
        *_pair(rf"{block}\.downsample", rf"{prefix}\1.downsample.0", rf"{prefix}\1.downsample.1"),
    )


def _numbered_stem(layers: int) -> Rules:
    """conv1, bn1, conv2, bn2, ... at the top level."""
    return tuple(rule for i in range(layers) for rule in _pair(rf"backbone\.stem\.{i}", f"conv{i + 1}", f"bn{i + 1}"))


def _ce2p_head(pyramid: str, edge: str, decoder: str, fusion: str, refine: tuple[int, int], last: int) -> Rules:
    """Head of CE2P, SCHP and M-CE2P: the same tree under different names; separate ReLUs shift some indices."""
    return (
        *_pair(r"pyramid\.stages\.(\d)", rf"{pyramid}.stages.\1.1", rf"{pyramid}.stages.\1.2"),
        *_pair(r"pyramid\.bottleneck", f"{pyramid}.bottleneck.0", f"{pyramid}.bottleneck.1"),
        *(
            rule
            for i in range(3)
            for rule in _pair(rf"edge\.branches\.{i}", f"{edge}.conv{i + 1}.0", f"{edge}.conv{i + 1}.1")
        ),
        (r"edge_classifier\.shared", f"{edge}.conv4"),
        (r"edge_classifier\.mix", f"{edge}.conv5"),
        *_pair(r"decoder\.lateral", f"{decoder}.conv1.0", f"{decoder}.conv1.1"),
        *_pair(r"decoder\.shortcut", f"{decoder}.conv2.0", f"{decoder}.conv2.1"),
        *_pair(r"decoder\.merge", f"{decoder}.conv3.0", f"{decoder}.conv3.1"),
        *_pair(r"decoder\.refine", f"{decoder}.conv3.{refine[0]}", f"{decoder}.conv3.{refine[1]}"),
        ("stage1_classifier", f"{decoder}.conv4"),
        *_pair(r"fusion\.merge", f"{fusion}.0", f"{fusion}.1"),
        (r"fusion\.classifier", f"{fusion}.{last}"),
    )


def _ssseg(pyramid_bottleneck: str, last: int) -> Rules:
    """sssegmentation, 2020 and now; layers that a version lacks simply never occur."""
    stem = (
        rule
        for i in range(3)
        for rule in _pair(rf"backbone\.stem\.{i}", f"backbone_net.stem.{3 * i}", f"backbone_net.stem.{3 * i + 1}")
    )
    return (
        *stem,
        *_blocks("backbone_net."),
        *_pair(r"pyramid\.stages\.(\d)", r"ppm_net.branches.\1.1", r"ppm_net.branches.\1.2"),
        *_pair(r"pyramid\.bottleneck", f"ppm_net.{pyramid_bottleneck}.0", f"ppm_net.{pyramid_bottleneck}.1"),
        *_pair(r"decoder\.lateral", "lateral_ppm_layer.0", "lateral_ppm_layer.1"),
        *_pair(r"edge\.branches\.(\d)", r"edge_net.branches.\1.0", r"edge_net.branches.\1.1"),
        (r"edge_classifier\.shared", "edge_net.edge_conv"),
        (r"edge_classifier\.mix", "edge_net.fuse_conv"),
        *_pair(r"decoder\.shortcut", "shortcut.0", "shortcut.1"),
        *_pair(r"decoder\.merge", "decoder_stage1.0", "decoder_stage1.1"),
        *_pair(r"decoder\.refine", "decoder_stage1.3", "decoder_stage1.4"),
        ("stage1_classifier", "decoder_stage1.7"),
        *_pair(r"fusion\.merge", "decoder_stage2.0", "decoder_stage2.1"),
        *_pair(r"fusion\.refine", "decoder_stage2.3", "decoder_stage2.4"),
        (r"fusion\.classifier", f"decoder_stage2.{last}"),
    )


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "SCHP",
        "schp",
        ("fushion.0.weight", "context_encoding.bottleneck.0.weight"),
        (*_numbered_stem(3), *_blocks(""), *_ce2p_head("context_encoding", "edge", "decoder", "fushion", (2, 3), 3)),
        inplace_abn=True,
    ),
    Layout(
        "M-CE2P / CE2P v1",
        "mce2p",
        ("edgelayer.conv4.weight", "layer7.0.weight"),
        (*_numbered_stem(1), *_blocks(""), *_ce2p_head("layer5", "edgelayer", "layer6", "layer7", (3, 4), 3)),
        inplace_abn=True,
    ),
    Layout(
        "CE2P",
        "ce2p",
        ("edge_layer.conv4.weight", "layer7.0.weight"),
        (*_numbered_stem(3), *_blocks(""), *_ce2p_head("layer5", "edge_layer", "layer6", "layer7", (2, 3), 3)),
        inplace_abn=True,
    ),
    Layout(
        "sssegmentation 2020",
        "ssseg-2020",
        ("lateral_ppm_layer.0.weight", "ppm_net.fuse_layer.0.weight", "decoder_stage2.4.weight"),
        _ssseg("fuse_layer", 4),
    ),
    Layout(
        "sssegmentation",
        "ssseg",
        ("ppm_net.bottleneck.0.weight", "decoder_stage2.7.weight"),
        _ssseg("bottleneck", 7),
    ),
)


def recognise(keys: Collection[str]) -> Layout | None:
    """The layout whose signature the keys contain, or None."""
    return next((layout for layout in LAYOUTS if all(key in keys for key in layout.signature)), None)
