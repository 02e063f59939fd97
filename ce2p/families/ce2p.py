"""CE2P as its authors published it in 2019: liutinglt/CE2P networks/CE2P.py, evaluate.py, dataset/datasets.py."""

from .entry import Family, Geometry, Normalisation, Preprocessing, Wiring, ce2p_rules

CE2P = Family(
    name="ce2p",
    wiring=Wiring(
        stem="deep-128",
        ceil_pool=False,
        half_dilated_first_block=False,
        align_corners=True,
        pyramid_input_first=False,
        lateral=True,
        fusion_layers=1,
        head_slope=0.01,
        dropout=0.1,
    ),
    title="CE2P",
    signature=("edge_layer.conv4.weight", "layer7.0.weight"),
    rules=ce2p_rules(stem=3, pyramid="layer5", edge="edge_layer", decoder="layer6", fusion="layer7", refine=2),
    inplace_abn=True,
    strides=(16,),
    preprocessing=Preprocessing(
        # RGB statistics on BGR channels: a slip in the public code that its weights have learnt.
        Normalisation("bgr", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        Geometry("affine", half_pixel=True, centre="int", unwarp="labels"),
    ),
    input_size=384,
    site_colours=False,
)
