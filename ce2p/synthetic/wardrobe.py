"""What people wear: outfits drawn so that every LIP class turns up often enough to be learned.

Each kind of garment prefers some colours, as shops do, but draws any colour now and then: hue helps to tell a
coat from a dress and never decides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .materials import Colour, Material, from_hsv, near

# BGR, as everywhere.
_DENIM: Final = ((130.0, 85.0, 50.0), (165.0, 125.0, 90.0), (90.0, 60.0, 40.0))
_DARK: Final = ((45.0, 42.0, 40.0), (70.0, 62.0, 58.0), (75.0, 50.0, 38.0))
_CHINO: Final = ((120.0, 160.0, 190.0), (80.0, 110.0, 130.0), (110.0, 115.0, 118.0))
_BRIGHT: Final = (
    (70.0, 70.0, 205.0),
    (60.0, 160.0, 225.0),
    (120.0, 165.0, 70.0),
    (190.0, 130.0, 60.0),
    (225.0, 225.0, 230.0),
    (165.0, 120.0, 200.0),
    (80.0, 190.0, 215.0),
    (160.0, 190.0, 120.0),
)
_ROSY: Final = (
    (110.0, 70.0, 190.0),
    (150.0, 130.0, 220.0),
    (75.0, 55.0, 175.0),
    (150.0, 90.0, 150.0),
    (170.0, 175.0, 75.0),
)
_WARM: Final = ((60.0, 80.0, 170.0), (50.0, 125.0, 195.0), (95.0, 60.0, 125.0), (70.0, 110.0, 80.0))
_OUTER: Final = ((90.0, 135.0, 180.0), (80.0, 55.0, 40.0), (60.0, 80.0, 75.0), (95.0, 95.0, 95.0), (50.0, 40.0, 95.0))
_WORK: Final = ((45.0, 130.0, 205.0), (75.0, 115.0, 115.0), (140.0, 100.0, 60.0), (100.0, 125.0, 150.0))
_HAIR: Final = (
    (25.0, 24.0, 28.0),
    (35.0, 45.0, 65.0),
    (45.0, 70.0, 110.0),
    (90.0, 155.0, 200.0),
    (50.0, 80.0, 165.0),
    (150.0, 152.0, 158.0),
    (35.0, 38.0, 48.0),
)
_LEATHER: Final = ((35.0, 35.0, 40.0), (40.0, 65.0, 110.0), (50.0, 50.0, 150.0), (215.0, 215.0, 220.0))
_SKIN: Final = (
    (190.0, 212.0, 242.0),
    (165.0, 192.0, 230.0),
    (140.0, 175.0, 218.0),
    (115.0, 150.0, 198.0),
    (88.0, 122.0, 172.0),
    (65.0, 92.0, 138.0),
    (52.0, 70.0, 105.0),
    (175.0, 198.0, 228.0),
)


@dataclass(frozen=True)
class Coat:
    """An outer garment. `hem` is how far it reaches down the legs (0 hip, 1 ankle); `gap` is half its opening
    at the chest in figure heights, 0 for a buttoned coat."""

    material: Material
    hem: float
    gap: float


@dataclass(frozen=True)
class Outfit:
    """One person's clothes and hair. A material that is None is a garment that is not worn.

    `main` is the garment of the trunk: "upper" with pants or a skirt, "dress" or "jumpsuit". `sleeve` is how
    much of the arm it covers, `leg_cover` how much of the leg pants or a jumpsuit cover, `hem` how far down
    the legs a skirt or dress reaches, `sock` how far up the shin socks reach: all fractions. `bag` is never drawn by
    `sample_outfit`: only data sets that have a class for bags add one.
    """

    main: str
    top: Material
    bottom: Material | None
    lower: str
    sleeve: float
    leg_cover: float
    hem: float
    flare: float
    neckline: str
    shoes: Material
    socks: Material | None
    sock: float
    coat: Coat | None
    scarf: Material | None
    gloves: Material | None
    hat: Material | None
    hat_style: str
    sunglasses: Material | None
    hair: Material
    hair_style: str
    bag: Material | None = None


def sample_skin(rng: np.random.Generator) -> Material:
    """Draw a skin tone, from pale to dark brown."""
    return Material(near(rng, _SKIN, 5.0))


def _cloth(rng: np.random.Generator, palette: Sequence[Colour], patterns: Sequence[str]) -> Material:
    """Draw a cloth: five times in six a colour of `palette`, else any hue at all."""
    if rng.random() < 5 / 6:
        colour = near(rng, palette)
    else:
        colour = from_hsv(rng.uniform(0, 360), rng.uniform(0.15, 0.8), rng.uniform(0.3, 0.9))
    # Patterns are a lighter or darker relative of the cloth, or white: never pure noise to the eye.
    shift = rng.choice([0.55, 1.6])
    accent = (235.0, 235.0, 235.0) if rng.random() < 0.35 else near(rng, [colour], 18.0)
    b, g, r = (float(np.clip(c * shift + 15, 10, 245)) for c in accent)
    return Material(
        colour=colour,
        accent=(b, g, r),
        pattern=str(rng.choice(list(patterns))),
        repeats=int(rng.integers(6, 13)),
        seed=int(rng.integers(2**31)),
    )


def _hair(rng: np.random.Generator) -> tuple[Material, str]:
    colour = near(rng, _HAIR, 5.0)
    style = str(rng.choice(["short", "bob", "long", "bun", "curly"], p=[0.26, 0.2, 0.26, 0.12, 0.16]))
    lighter = (colour[0] + 14.0, colour[1] + 16.0, colour[2] + 19.0)
    return Material(colour, lighter, "stripes", 18, int(rng.integers(2**31))), style


def sample_bag(rng: np.random.Generator) -> Material:
    """Draw the leather or cloth of a bag, for pictures of data sets that have a class for bags."""
    return _cloth(rng, _LEATHER + _WARM, ("plain", "knit"))


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Draw a whole outfit. Deterministic in the state of `rng`."""
    kind = str(rng.choice(["pants", "skirt", "dress", "jumpsuit"], p=[0.31, 0.28, 0.205, 0.205]))
    main = kind if kind in ("dress", "jumpsuit") else "upper"
    plain = ("plain", "plain", "knit")
    if main == "dress":
        top = _cloth(rng, _ROSY, ("plain", "floral", "dots", "floral", "dots"))
    elif main == "jumpsuit":
        top = _cloth(rng, _WORK, ("denim", "plain", "denim"))
    else:
        top = _cloth(rng, _BRIGHT, (*plain, "bands", "stripes", "checks"))
    bottom = None
    if kind == "pants":
        bottom = _cloth(rng, _DENIM + _DARK + _CHINO, ("denim", "plain", "plain"))
    elif kind == "skirt":
        bottom = _cloth(rng, _WARM, ("pleats", "pleats", "checks", "plain"))
    leg_cover = float(rng.choice([0.36, 0.74, 0.97], p=[0.3, 0.35, 0.35])) + float(rng.uniform(-0.03, 0.03))
    hair, hair_style = _hair(rng)
    coat = None
    if rng.random() < 0.36:
        closed = rng.random() < 0.2
        gap = 0.0 if closed else float(rng.uniform(0.022, 0.045))
        coat = Coat(_cloth(rng, _OUTER, ("plain", "plain", "knit", "checks")), float(rng.uniform(0.12, 0.72)), gap)
    return Outfit(
        main=main,
        top=top,
        bottom=bottom,
        lower=kind,
        sleeve=float(rng.choice([0.0, 0.3, 0.62, 1.0], p=[0.2, 0.35, 0.15, 0.3])),
        leg_cover=leg_cover,
        hem=float(rng.uniform(0.30, 0.62)),
        flare=float(rng.uniform(0.015, 0.075)),
        neckline=str(rng.choice(["round", "vee", "high"], p=[0.45, 0.35, 0.2])),
        shoes=_cloth(rng, _LEATHER, ("plain",)),
        socks=_cloth(rng, _BRIGHT, ("plain", "bands", "knit")) if rng.random() < 0.62 else None,
        sock=float(rng.uniform(0.38, 0.85)),
        coat=coat,
        scarf=_cloth(rng, _BRIGHT + _WARM, ("plain", "bands", "checks")) if rng.random() < 0.34 else None,
        gloves=_cloth(rng, _LEATHER + _BRIGHT, ("plain", "knit")) if rng.random() < 0.40 else None,
        hat=_cloth(rng, _BRIGHT + _DARK, ("plain", "knit", "bands")) if rng.random() < 0.38 else None,
        hat_style=str(rng.choice(["cap", "beanie", "brim"])),
        sunglasses=Material(near(rng, [(30.0, 28.0, 26.0), (30.0, 40.0, 60.0)], 6.0)) if rng.random() < 0.36 else None,
        hair=hair,
        hair_style=hair_style,
    )
