"""From our module names to a checkpoint's: rules that the families' modules are put together from.

A rule is a pattern of our module name and its replacement. Layers that a version lacks simply never occur.
"""

from __future__ import annotations

import re

__all__ = ["Rules", "blocks", "ce2p_head", "file_key", "numbered_stem", "pair"]

Rules = tuple[tuple[str, str], ...]


def file_key(rules: Rules, our_key: str) -> str | None:
    """The key in the file, of the first rule that matches the whole module name; None where none does."""
    module, _, parameter = our_key.rpartition(".")
    for pattern, replacement in rules:
        if re.fullmatch(pattern, module):
            return f"{re.sub(pattern, replacement, module)}.{parameter}"
    return None


def pair(ours: str, conv: str, norm: str) -> Rules:
    """Rules for one ConvNormAct."""
    return (rf"{ours}\.conv", conv), (rf"{ours}\.norm", norm)


def blocks(prefix: str) -> Rules:
    """The residual blocks, named as torchvision does, in every layout."""
    block = r"backbone\.(layer\d\.\d+)"
    return (
        *(
            rule
            for i in range(3)
            for rule in pair(rf"{block}\.branch\.{i}", rf"{prefix}\1.conv{i + 1}", rf"{prefix}\1.bn{i + 1}")
        ),
        *pair(rf"{block}\.downsample", rf"{prefix}\1.downsample.0", rf"{prefix}\1.downsample.1"),
    )


def numbered_stem(layers: int) -> Rules:
    """conv1, bn1, conv2, bn2, ... at the top level."""
    return tuple(rule for i in range(layers) for rule in pair(rf"backbone\.stem\.{i}", f"conv{i + 1}", f"bn{i + 1}"))


def ce2p_head(*, pyramid: str, edge: str, decoder: str, fusion: str, refine: tuple[int, int]) -> Rules:
    """Head of CE2P, SCHP and M-CE2P: the same tree under different names; separate ReLUs shift the indices `refine`."""
    return (
        *pair(r"pyramid\.stages\.(\d)", rf"{pyramid}.stages.\1.1", rf"{pyramid}.stages.\1.2"),
        *pair(r"pyramid\.bottleneck", f"{pyramid}.bottleneck.0", f"{pyramid}.bottleneck.1"),
        *(
            rule
            for i in range(3)
            for rule in pair(rf"edge\.branches\.{i}", f"{edge}.conv{i + 1}.0", f"{edge}.conv{i + 1}.1")
        ),
        (r"edge_classifier\.shared", f"{edge}.conv4"),
        (r"edge_classifier\.mix", f"{edge}.conv5"),
        *pair(r"decoder\.lateral", f"{decoder}.conv1.0", f"{decoder}.conv1.1"),
        *pair(r"decoder\.shortcut", f"{decoder}.conv2.0", f"{decoder}.conv2.1"),
        *pair(r"decoder\.merge", f"{decoder}.conv3.0", f"{decoder}.conv3.1"),
        *pair(r"decoder\.refine", f"{decoder}.conv3.{refine[0]}", f"{decoder}.conv3.{refine[1]}"),
        ("stage1_classifier", f"{decoder}.conv4"),
        *pair(r"fusion\.merge", f"{fusion}.0", f"{fusion}.1"),
        (r"fusion\.classifier", f"{fusion}.3"),
    )
