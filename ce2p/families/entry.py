"""What a model family's module states: one frozen `Family`, made by keyword, and the parts that it consists of.

Nothing here imports NumPy, OpenCV or torch: the command line reads its choices from these entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ce2p_runtime.model_files.metadata import Geometry, Normalisation

from .key_rules import Rules, file_key

__all__ = ["CheckpointKeys", "Family", "Geometry", "Normalisation", "Preprocessing", "Wiring"]


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
class CheckpointKeys:
    """How a code base names the parts of the network. Our own names are the reference."""

    title: str
    """Of the code base, for messages."""
    signature: tuple[str, ...]
    """Keys that only a file of this family has, all of them."""
    rules: Rules
    """(pattern of our module name, replacement); the first full match wins."""
    inplace_abn: bool = False
    """Whether its norms are InPlaceABN when the file carries no `num_batches_tracked`."""

    def file_key(self, our_key: str) -> str:
        """`backbone.layer1.0.conv1.norm.bias` -> the key in the file, e.g. `layer1.0.bn1.bias`."""
        if (key := file_key(self.rules, our_key)) is None:
            raise LookupError(f"layout {self.title} has no rule for {our_key}")
        return key


@dataclass(frozen=True, kw_only=True)
class Family:
    """One public code base's network. What a published data set changes in it, says `ce2p.datasets`."""

    name: str
    wiring: Wiring
    keys: CheckpointKeys
    strides: tuple[int, ...]
    """Output strides of its public checkpoints, which the files do not tell; the one assumed stands first."""
    preprocessing: Preprocessing
    input_size: int
    """Side of the square input in pixels; `DataSet.input_sizes` has the exceptions."""
    site_colours: bool
    """Whether it paints a data set in the colours of its site, where that has some, instead of PASCAL's."""
