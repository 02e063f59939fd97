"""SCHP, Self-Correction for Human Parsing: GoGoDuck912/Self-Correction-Human-Parsing networks/AugmentCE2P.py and
simple_extractor.py.
"""

from __future__ import annotations

from .ce2p import CE2P
from .entry import CheckpointKeys, Family, Geometry, Normalisation, Preprocessing
from .key_rules import blocks, ce2p_head, numbered_stem

__all__ = ["SCHP"]

SCHP = Family(
    name="schp",
    wiring=CE2P.wiring,
    keys=CheckpointKeys(
        title="SCHP",
        signature=("fushion.0.weight", "context_encoding.bottleneck.0.weight"),
        rules=(
            *numbered_stem(3),
            *blocks(""),
            *ce2p_head(pyramid="context_encoding", edge="edge", decoder="decoder", fusion="fushion", refine=(2, 3)),
        ),
        inplace_abn=True,
    ),
    strides=(16,),
    preprocessing=Preprocessing(
        Normalisation("bgr", 1 / 255, (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)),
        Geometry("affine", half_pixel=False, centre="float", unwarp="logits"),
    ),
    input_size=473,
    site_colours=False,
)
