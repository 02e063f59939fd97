"""Multi-Human Parsing v2 (Zhao et al., 2018). Its 59 classes are known, so that networks trained on it have names."""

from .entry import DataSet, LabelSet, figures

MHP = DataSet(
    labels=LabelSet.of(
        "mhp",
        "Multi-Human Parsing v2",
        "Background, Cap/hat, Helmet, Face, Hair, Left-arm, Right-arm, Left-hand, Right-hand, Protector, Bikini/bra, "
        "Jacket/windbreaker/hoodie, Tee-shirt, Polo-shirt, Sweater, Singlet, Torso-skin, Pants, Shorts/swim-shorts, "
        "Skirt, Stockings, Socks, Left-boot, Right-boot, Left-shoe, Right-shoe, Left-highheel, Right-highheel, "
        "Left-sandal, Right-sandal, Left-leg, Right-leg, Left-foot, Right-foot, Coat, Dress, Robe, Jumpsuit, "
        "Other-full-body-clothes, Headwear, Backpack, Ball, Bats, Belt, Bottle, Carrybag, Cases, Sunglasses, Eyewear, "
        "Glove, Scarf, Umbrella, Wallet/purse, Watch, Wristband, Tie, Other-accessary, Other-upper-body-clothes, "
        "Other-lower-body-clothes",
    ),
    layout=None,
    people=None,
    published=figures(
        "mhp",
        {
            ("mce2p r101 16", "CE2P paper (arXiv 1809.05996), quoted at second hand"): (
                "AP^p 0.5 33.34 the challenge's test track",
            )
        },
    ),
)
