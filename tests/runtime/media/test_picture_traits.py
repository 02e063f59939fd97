"""Which way up, what is transparent, how many pictures: held against Pillow."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

from ce2p_runtime.media.pictures import Picture, decode_picture

RGBA = np.random.default_rng(0).integers(0, 256, (20, 31, 4), dtype=np.uint8)
GREEN = (0, 200, 0)
AVIF = cv2.haveImageWriter(".avif") and features.check("avif")
"""Whether both libraries are new enough."""


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _over_green(data: bytes) -> NDArray[np.uint8]:
    """The first picture of a file over green, as Pillow composes it, BGR."""
    with Image.open(io.BytesIO(data)) as image:
        plain = Image.new("RGBA", image.size, (*GREEN, 255))
        composed = Image.alpha_composite(plain, image.convert("RGBA")).convert("RGB")
    return np.asarray(cv2.cvtColor(np.asarray(composed), cv2.COLOR_RGB2BGR), np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", *(["AVIF"] if AVIF else [])])
def test_pictures_are_turned_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    options = {"tiffinfo": {274: orientation}} if kind == "TIFF" else {"exif": exif, "quality": 100}
    data = _saved(Image.fromarray(cv2.GaussianBlur(RGBA[:, :, :3], (0, 0), 2)), kind, **options)
    with Image.open(io.BytesIO(data)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[:, :, ::-1]
    picture = decode_picture(data, "a")
    assert picture.image.shape == upright.shape
    # Pillow's libraries are others than OpenCV's.
    assert np.abs(picture.image.astype(int) - upright).max() <= (8 if kind == "AVIF" else 2)


def _palette() -> Image.Image:
    return Image.fromarray(RGBA[:, :, :3]).quantize(8)


TRANSPARENT = {
    "PNG": _saved(Image.fromarray(RGBA), "PNG"),
    "grey PNG": _saved(Image.fromarray(RGBA).convert("LA"), "PNG"),
    "palette PNG": _saved(_palette(), "PNG", transparency=3),
    "PNG with a transparent colour": _saved(
        Image.fromarray(RGBA[:, :, :3]), "PNG", transparency=tuple(int(value) for value in RGBA[4, 5, :3])
    ),
    "16-bit PNG": cv2.imencode(".png", cv2.cvtColor(RGBA, cv2.COLOR_RGBA2BGRA).astype(np.uint16) * 257)[1].tobytes(),
    "lossless WebP": _saved(Image.fromarray(RGBA), "WEBP", lossless=True, exact=True),
    "lossy WebP": _saved(Image.fromarray(RGBA), "WEBP"),
    "GIF": _saved(_palette(), "GIF", transparency=3),
    "TIFF": _saved(Image.fromarray(RGBA), "TIFF"),
    **({"AVIF": _saved(Image.fromarray(RGBA), "AVIF")} if AVIF else {}),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_what_is_transparent_is_laid_over_the_background_and_said(name: str) -> None:
    data = TRANSPARENT[name]
    picture = decode_picture(data, "a", background=GREEN)
    expected = _over_green(data if name != "16-bit PNG" else TRANSPARENT["PNG"])
    # Lossy formats are decoded by two builds of one library, whose colours may differ.
    assert np.abs(picture.image.astype(int) - expected).max() <= (8 if name in ("lossy WebP", "AVIF") else 1)
    assert picture.notes == ("a: what is transparent is laid over RGB 0, 200, 0",)
    assert decode_picture(data, "a").notes == ("a: what is transparent is laid over RGB 255, 255, 255",)


def test_hidden_colours_do_not_show() -> None:
    hidden = np.dstack([RGBA[:, :, :3], np.zeros((20, 31), np.uint8)])
    assert (decode_picture(_saved(Image.fromarray(hidden), "PNG"), "a").image == 255).all()


def test_opaque_pictures_stay_as_they_are() -> None:
    opaque = RGBA.copy()
    opaque[:, :, 3] = 255
    picture = decode_picture(_saved(Image.fromarray(opaque), "PNG"), "a", background=GREEN)
    assert np.array_equal(picture.image, RGBA[:, :, 2::-1])
    assert not picture.notes


def test_premultiplied_colours_are_not_multiplied_again() -> None:
    bgra = np.full((2, 2, 4), 128, np.uint8)
    bgra[..., :3] = 64  # half of 128
    assert (Picture.over(bgra, (0, 0, 0), premultiplied=True).image == 64).all()
    assert (Picture.over(bgra, (0, 0, 0)).image == 32).all()


def test_transparency_that_opencv_drops_is_said() -> None:
    data = _saved(Image.fromarray(RGBA).convert("LA"), "TIFF")
    (note,) = decode_picture(data, "a").notes
    assert note == "a: its transparency cannot be read, colours are taken as they are stored"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_pictures_the_first_is_read_and_said(kind: str) -> None:
    colours = [(250, 10, 20), (10, 250, 20), (20, 10, 250)]
    images = [Image.new("RGB", (24, 16), colour) for colour in colours]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = _saved(images[0], kind, save_all=True, append_images=images[1:], **options)
    picture = decode_picture(data, "walk")
    assert np.abs(picture.image.reshape(-1, 3).astype(int) - colours[0][::-1]).max() <= 1
    assert picture.notes == ("walk: holds 3 pictures (an animation or pages), of which the first is read",)
