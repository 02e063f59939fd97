"""CE2P's first version, which M-CE2P parses several people with: RanTaimu/M-CE2P models.py, evaluate.py."""

from dataclasses import replace

from .ce2p import CE2P
from .entry import Family, Geometry, Normalisation, Preprocessing, ce2p_rules

MCE2P = Family(
    name="mce2p",
    wiring=replace(CE2P.wiring, stem="7x7", ceil_pool=True, head_slope=0.0, dropout=0.0),
    title="M-CE2P / CE2P v1",
    signature=("edgelayer.conv4.weight", "layer7.0.weight"),
    rules=ce2p_rules(stem=1, pyramid="layer5", edge="edgelayer", decoder="layer6", fusion="layer7", refine=3),
    inplace_abn=True,
    strides=(16,),
    preprocessing=Preprocessing(
        Normalisation("bgr", 1.0, (104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0)),
        Geometry("resize", half_pixel=False, centre="float", unwarp="logits"),
    ),
    input_size=473,
    site_colours=True,
)
