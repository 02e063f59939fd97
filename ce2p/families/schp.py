"""SCHP, Self-Correction for Human Parsing: GoGoDuck912/Self-Correction-Human-Parsing networks/AugmentCE2P.py and
simple_extractor.py.
"""

from .ce2p import CE2P
from .entry import Family, Geometry, Normalisation, Preprocessing, ce2p_rules

SCHP = Family(
    name="schp",
    wiring=CE2P.wiring,
    title="SCHP",
    signature=("fushion.0.weight", "context_encoding.bottleneck.0.weight"),
    rules=ce2p_rules(stem=3, pyramid="context_encoding", edge="edge", decoder="decoder", fusion="fushion", refine=2),
    inplace_abn=True,
    strides=(16,),
    preprocessing=Preprocessing(
        Normalisation("bgr", 1 / 255, (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)),
        Geometry("affine", half_pixel=False, centre="float", unwarp="logits"),
    ),
    input_size=473,
    site_colours=False,
)
