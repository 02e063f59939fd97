"""One picture: what is in it, an overlay to look at, and a cut-out of the clothes.

python examples/parse_picture.py MODEL.onnx photo.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

from ce2p_runtime import CE2PRuntimeError, HumanParser

CLOTHES = ("Upper-clothes", "Dress", "Coat", "Pants", "Skirt", "Jumpsuits")


def main(model: str, picture: str) -> None:
    """Write `<picture>_overlay.jpg`, `<picture>_labels.png` and `<picture>_clothes.png` into the working folder."""
    stem = Path(picture).stem
    with HumanParser(model, keep_frames=True) as parser:
        result = parser(picture)
    height, width = result.labels.shape
    for name, pixels in sorted(result.present().items(), key=lambda item: -item[1]):
        print(f"{name:15} {pixels / (height * width):6.1%}")
    result.save_overlay(f"{stem}_overlay.jpg")
    result.save_labels(f"{stem}_labels.png")
    result.save_cutout(f"{stem}_clothes.png", None, *(name for name in CLOTHES if name in result.class_names))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except CE2PRuntimeError as error:
        sys.exit(f"error: {error}")
