"""What a model family's module states: one frozen `Family`, made by keyword, and the parts that it consists of.

Nothing here imports NumPy, OpenCV or torch: the command line reads its choices from these entries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from ce2p_runtime.model_files.metadata import Geometry as Geometry
from ce2p_runtime.model_files.metadata import Normalisation as Normalisation

Rules = tuple[tuple[str, str], ...]
"""(pattern of our module name, replacement); the first that matches the whole name wins. Layers that a version lacks
never occur."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What makes one family's network differ from another's; `ce2p.models.CE2PConfig` adds backbone and classes."""

    stem: Literal["deep-128", "deep-64", "7x7"]
    """`deep-128`: 3x3 convolutions 64, 64, 128. `deep-64`: 32, 32, 64. `7x7`: one 7x7 convolution, 64."""
    ceil_pool: bool
    """Round the size after max pooling up: S/4+1 instead of S/4 where S divides by 4."""
    half_dilated_first_block: bool
    """The first block of a dilated stage has half that stage's dilation."""
    align_corners: bool
    """Convention of every bilinear interpolation."""
    pyramid_input_first: bool
    """Order of the pyramid's concatenation: [x, 1, 2, 3, 6] if set, else [1, 2, 3, 6, x]."""
    lateral: bool
    """A 1x1 convolution narrows the pyramid's output to the decoder's width before upsampling."""
    fusion_layers: Literal[1, 2]
    """Convolutions of the fusion before its classifier."""
    head_slope: float
    """Negative slope of the activations in edge head, decoder and fusion: 0.01, or 0 where they are ReLUs."""
    dropout: float
    """Channel dropout before the final classifier, while training."""
    pyramid_width: int = 512
    edge_width: int = 256
    decoder_width: int = 256
    shortcut_width: int = 48
    base_width: int = 64
    """Channels of the backbone's first stage (before expansion)."""


@dataclass(frozen=True)
class Preprocessing:
    """From a BGR uint8 frame to the network's input tensor, and back, as the family's own extractor does it."""

    normalisation: Normalisation
    geometry: Geometry


@dataclass(frozen=True, kw_only=True)
class Family:
    """One public code base's network. What a published data set changes in it, says `ce2p.datasets`."""

    name: str
    title: str
    """Of the code base, for messages about its checkpoints."""
    wiring: Wiring
    signature: tuple[str, ...]
    """Keys that only a checkpoint of this family has, all of them."""
    rules: Rules
    inplace_abn: bool
    """Whether its norms are InPlaceABN when the file carries no `num_batches_tracked`."""
    strides: tuple[int, ...]
    """Output strides of its public checkpoints, which the files do not tell; the one assumed stands first."""
    preprocessing: Preprocessing
    input_size: int
    """Side of the square input in pixels; `DataSet.input_sizes` has the exceptions."""
    site_colours: bool
    """Whether it paints a data set in the colours of its site, where that has some, instead of PASCAL's."""

    def file_key(self, our_key: str) -> str:
        """`backbone.layer1.0.conv1.norm.bias` -> the key in its files, e.g. `layer1.0.bn1.bias`."""
        module, _, parameter = our_key.rpartition(".")
        for pattern, replacement in self.rules:
            if re.fullmatch(pattern, module):
                return f"{re.sub(pattern, replacement, module)}.{parameter}"
        raise LookupError(f"{self.title} has no rule for {our_key}")


def pair(ours: str, conv: str, norm: str) -> Rules:
    """Rules for one ConvNormAct."""
    return (rf"{ours}\.conv", conv), (rf"{ours}\.norm", norm)


def pairs(ours: str, theirs: str, first: int = 0) -> Rules:
    """Rules for one ConvNormAct whose parts the file numbers: the convolution is `first`, its norm the next."""
    return pair(ours, f"{theirs}.{first}", f"{theirs}.{first + 1}")


def blocks(prefix: str) -> Rules:
    """The residual blocks, named as torchvision does, in every layout."""
    block, branches = r"backbone\.(layer\d\.\d+)", range(3)
    inside = (pair(rf"{block}\.branch\.{i}", rf"{prefix}\1.conv{i + 1}", rf"{prefix}\1.bn{i + 1}") for i in branches)
    return (*chain.from_iterable(inside), *pairs(rf"{block}\.downsample", rf"{prefix}\1.downsample"))


def ce2p_rules(*, stem: int, pyramid: str, edge: str, decoder: str, fusion: str, refine: int) -> Rules:
    """CE2P's, SCHP's and M-CE2P's: the same tree under different names.

    `stem`: its convolutions, numbered at the top level. `refine`: index of the decoder's last convolution, which
    separate ReLUs shift.
    """
    stems = (pair(rf"backbone\.stem\.{i}", f"conv{i + 1}", f"bn{i + 1}") for i in range(stem))
    edges = (pairs(rf"edge\.branches\.{i}", f"{edge}.conv{i + 1}") for i in range(3))
    return (
        *chain.from_iterable(stems),
        *blocks(""),
        *pairs(r"pyramid\.stages\.(\d)", rf"{pyramid}.stages.\1", 1),
        *pairs(r"pyramid\.bottleneck", f"{pyramid}.bottleneck"),
        *chain.from_iterable(edges),
        (r"edge_classifier\.shared", f"{edge}.conv4"),
        (r"edge_classifier\.mix", f"{edge}.conv5"),
        *pairs(r"decoder\.lateral", f"{decoder}.conv1"),
        *pairs(r"decoder\.shortcut", f"{decoder}.conv2"),
        *pairs(r"decoder\.merge", f"{decoder}.conv3"),
        *pairs(r"decoder\.refine", f"{decoder}.conv3", refine),
        ("stage1_classifier", f"{decoder}.conv4"),
        *pairs(r"fusion\.merge", fusion),
        (r"fusion\.classifier", f"{fusion}.3"),
    )
