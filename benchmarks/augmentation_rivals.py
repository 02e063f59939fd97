"""The same augmentations as others make them, to be timed and held against `ce2p.augmentation`.

`published` arranges the work as the public training codes do: one pass over the picture per step, labels as float32
where they have them so, swaps by `np.where`, a sorted list of all labels for the crop rule, edges by four masked
assignments and a dilation in float64. `torchvision` uses transforms v2 on PIL pictures, and `ce2p.training.edges`.

Each draws from the generator in the order that ours does, so that with equal seeds all make the same sample.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torchvision.transforms.v2.functional as TF
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode

from ce2p.augmentation import AffineAugmentation, Augmented, CropAugmentation, SssegAugmentation
from ce2p.labels import LabelSet
from ce2p.training.edges import edge_labels

Pixels = NDArray[np.uint8]
AnyAugmentation = AffineAugmentation | SssegAugmentation | CropAugmentation


def published(augmentation: AnyAugmentation, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Augmented:
    """One sample with a pass per step; uint8 at the end, as ours."""
    if isinstance(augmentation, AffineAugmentation):
        return _published_affine(augmentation, image, labels, rng)
    if isinstance(augmentation, SssegAugmentation):
        return _published_ssseg(augmentation, image, labels, rng)
    return _published_crop(augmentation, image, labels, rng)


def _published_affine(own: AffineAugmentation, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Augmented:
    factor, degrees, mirrored = _affine_draws(own, rng)
    height, width = labels.shape
    if mirrored:
        image, labels = image[:, ::-1], _swapped(labels[:, ::-1].copy(), own.label_set)
    box = np.array([width - 1, height - 1], np.float32)
    aspect = own.size[1] / own.size[0]
    box = np.maximum(box, box[::-1] * [aspect, 1 / aspect]) * factor
    side = own.size[1] - (0 if own.half_pixel else 1)
    middle = np.array([side, own.size[0] - (0 if own.half_pixel else 1)]) / 2
    turn = math.radians(degrees)
    up = np.array([math.sin(turn), -math.cos(turn)]) * box[0] / 2
    source, target = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    source[0] = (width - 1) / 2, (height - 1) / 2
    source[1], target[0], target[1] = source[0] + up, middle, middle - [0, side / 2]
    for points in (source, target):
        away = points[0] - points[1]
        points[2] = points[1] + [-away[1], away[0]]
    matrix = cv2.getAffineTransform(source, target)
    image = cv2.warpAffine(image, matrix, own.size[::-1], flags=cv2.INTER_LINEAR)
    labels = cv2.warpAffine(labels, matrix, own.size[::-1], flags=cv2.INTER_NEAREST, borderValue=255)
    return Augmented(image, labels, _masked_edges(labels).astype(np.uint8))


def _published_ssseg(own: SssegAugmentation, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Augmented:
    size = _ssseg_size(own, labels.shape, rng)
    targets = labels.astype(np.float32)
    image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    targets = cv2.resize(targets, size[::-1], interpolation=cv2.INTER_NEAREST)
    top, left = _sorted_window(own, targets, rng)
    image, targets = (pixels[top : top + own.size[0], left : left + own.size[1]].copy() for pixels in (image, targets))
    if rng.random() < own.flip_probability:
        image, targets = np.flip(image, axis=1), _swapped(np.flip(targets, axis=1).copy(), own.label_set)
    if (degrees := _ssseg_degrees(own, rng)) is not None:
        height, width = targets.shape
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
        image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC)
        targets = cv2.warpAffine(targets, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=255)
    for step, value in _photometric_draws(own, rng):
        image = _distorted(image, step, value)
    edges = _masked_edges(targets)
    missing = [want - have for have, want in zip(targets.shape, own.size, strict=True)]
    sides = (missing[0] // 2, -(-missing[0] // 2), missing[1] // 2, -(-missing[1] // 2))
    values = (own.padding_colour, 255, 255)
    return Augmented(
        *(
            cv2.copyMakeBorder(pixels, *sides, cv2.BORDER_CONSTANT, value=value).astype(np.uint8)
            for pixels, value in zip((image, targets, edges), values, strict=True)
        )
    )


def _published_crop(own: CropAugmentation, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Augmented:
    edges = _masked_edges(labels)  # read from a file there
    if rng.random() < own.flip_probability:
        image, edges = image[:, ::-1], edges[:, ::-1]
        labels = _swapped(labels[:, ::-1].copy(), own.label_set)
    factor = own.scales[rng.integers(len(own.scales))]
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR).astype(np.float32)
    labels, edges = (
        cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST) for pixels in (labels, edges)
    )
    room = [have - want for have, want in zip(labels.shape, own.size, strict=True)]
    sides = (0, max(0, -room[0]), 0, max(0, -room[1]))
    top, left = (int(rng.integers(max(0, spare) + 1)) for spare in room)
    window = (slice(top, top + own.size[0]), slice(left, left + own.size[1]))
    return Augmented(
        *(
            cv2.copyMakeBorder(pixels, *sides, cv2.BORDER_CONSTANT, value=value)[window].astype(np.uint8)
            for pixels, value in ((image, own.padding_colour), (labels, 255), (edges, 0))
        )
    )


def torchvision(augmentation: AnyAugmentation, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Augmented:
    """One sample by transforms v2 on PIL pictures."""
    picture, targets = Image.fromarray(image[:, :, ::-1]), Image.fromarray(labels)
    if isinstance(augmentation, AffineAugmentation):
        picture, targets = _torchvision_affine(augmentation, picture, targets, rng)
        sides, colour, padded_edge = (0, 0, 0, 0), (0, 0, 0), 0
    elif isinstance(augmentation, SssegAugmentation):
        picture, targets = _torchvision_ssseg(augmentation, picture, targets, rng)
        width, height = (want - have for have, want in zip(targets.size, augmentation.size[::-1], strict=True))
        sides = (width // 2, height // 2, -(-width // 2), -(-height // 2))
        colour, padded_edge = augmentation.padding_colour, 255
    else:
        picture, targets = _torchvision_crop(augmentation, picture, targets, rng)
        width, height = (want - have for have, want in zip(targets.size, augmentation.size[::-1], strict=True))
        sides, colour, padded_edge = (0, 0, width, height), augmentation.padding_colour, 0
    tensor = TF.pil_to_tensor(targets)
    edges = TF.pad(edge_labels(tensor), list(sides), fill=padded_edge)[0]
    bgr = TF.pil_to_tensor(TF.pad(picture, list(sides), fill=colour[::-1])).flip(0)
    return Augmented(
        bgr.permute(1, 2, 0).numpy(), TF.pad(tensor, list(sides), fill=255)[0].numpy(), edges.to(torch.uint8).numpy()
    )


def _torchvision_affine(
    own: AffineAugmentation, picture: Image.Image, labels: Image.Image, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    factor, degrees, mirrored = _affine_draws(own, rng)
    fit = min(own.size[1] / labels.width, own.size[0] / labels.height)
    size = [round(labels.height * fit), round(labels.width * fit)]
    across, down = own.size[1] - size[1], own.size[0] - size[0]
    sides = [across // 2, down // 2, across - across // 2, down - down // 2]
    move = {"angle": -degrees, "translate": [0, 0], "scale": 1 / factor, "shear": [0.0, 0.0]}
    if mirrored:
        picture, labels = TF.horizontal_flip(picture), _pil_swapped(TF.horizontal_flip(labels), own.label_set)
    picture = TF.pad(TF.resize(picture, size), sides, fill=0)
    labels = TF.pad(TF.resize(labels, size, interpolation=InterpolationMode.NEAREST), sides, fill=255)
    picture = TF.affine(picture, **move, interpolation=InterpolationMode.BILINEAR, fill=[0])
    return picture, TF.affine(labels, **move, interpolation=InterpolationMode.NEAREST, fill=[255])


def _torchvision_ssseg(
    own: SssegAugmentation, picture: Image.Image, labels: Image.Image, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    size = list(_ssseg_size(own, (labels.height, labels.width), rng))
    picture = TF.resize(picture, size)
    labels = TF.resize(labels, size, interpolation=InterpolationMode.NEAREST)
    top, left = _sorted_window(own, np.asarray(labels), rng)
    window = (top, left, min(own.size[0], size[0]), min(own.size[1], size[1]))
    picture, labels = TF.crop(picture, *window), TF.crop(labels, *window)
    if rng.random() < own.flip_probability:
        picture, labels = TF.horizontal_flip(picture), _pil_swapped(TF.horizontal_flip(labels), own.label_set)
    if (degrees := _ssseg_degrees(own, rng)) is not None:
        picture = TF.rotate(picture, degrees, interpolation=InterpolationMode.BICUBIC, fill=[0])
        labels = TF.rotate(labels, degrees, interpolation=InterpolationMode.NEAREST, fill=[255])
    for step, value in _photometric_draws(own, rng):
        # In torchvision's terms: brightness is a factor, contrast is about the mean, hue a share of the circle.
        if step == "brightness":
            picture = TF.adjust_brightness(picture, 1 + value / 128)
        elif step == "contrast":
            picture = TF.adjust_contrast(picture, value)
        elif step == "saturation":
            picture = TF.adjust_saturation(picture, value)
        else:
            picture = TF.adjust_hue(picture, -value / 180)
    return picture, labels


def _torchvision_crop(
    own: CropAugmentation, picture: Image.Image, labels: Image.Image, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    if rng.random() < own.flip_probability:
        picture, labels = TF.horizontal_flip(picture), _pil_swapped(TF.horizontal_flip(labels), own.label_set)
    factor = own.scales[rng.integers(len(own.scales))]
    size = [round(labels.height * factor), round(labels.width * factor)]
    picture = TF.resize(picture, size)
    labels = TF.resize(labels, size, interpolation=InterpolationMode.NEAREST)
    top, left = (int(rng.integers(max(0, have - want) + 1)) for have, want in zip(size, own.size, strict=True))
    window = (top, left, min(own.size[0], size[0]), min(own.size[1], size[1]))
    return TF.crop(picture, *window), TF.crop(labels, *window)


def _affine_draws(own: AffineAugmentation, rng: np.random.Generator) -> tuple[float, float, bool]:
    """Factor of the box, degrees, and whether to mirror."""
    factor = float(np.clip(1 + own.scale_sigma * rng.standard_normal(), 1 - own.scale_sigma, 1 + own.scale_sigma))
    degrees = float(np.clip(rng.standard_normal(), -2, 2)) * own.rotation_sigma
    if rng.random() >= own.rotation_probability:
        degrees = 0.0
    return factor, degrees, rng.random() < own.flip_probability


def _ssseg_size(own: SssegAugmentation, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
    """(H, W) after resizing."""
    factor = rng.uniform(*own.scale_range)
    sides = own.resize or ((2048, 512) if own.keep_ratio else (520, 520))
    long, short = (int(side * factor) for side in sides)
    if own.keep_ratio:
        scale = min(long / max(shape), short / min(shape))
        return int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5)
    return (long, short) if shape[0] > shape[1] else (short, long)


def _sorted_window(own: SssegAugmentation, targets: NDArray[np.generic], rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of the crop, by the sorted labels of each."""
    room = [max(0, have - want) for have, want in zip(targets.shape, own.size, strict=True)]
    for _ in range(10 if any(room) else 1):
        top, left = (int(rng.integers(spare + 1)) for spare in room)
        found, counts = np.unique(targets[top : top + own.size[0], left : left + own.size[1]], return_counts=True)
        counts = counts[found != 255]
        if len(counts) > 1 and counts.max() / counts.sum() < own.max_class_share:
            break
    return top, left


def _ssseg_degrees(own: SssegAugmentation, rng: np.random.Generator) -> int | None:
    if rng.random() >= own.rotation_probability:
        return None
    return int(rng.integers(-own.rotation_degrees, own.rotation_degrees))


def _photometric_draws(own: SssegAugmentation, rng: np.random.Generator) -> list[tuple[str, float]]:
    """The steps that were drawn, in the order in which they are made."""
    steps: list[tuple[str, float]] = []
    if rng.random() < 0.5:
        steps.append(("brightness", rng.uniform(-own.brightness, own.brightness)))
    last = rng.random() < 0.5
    contrast = [("contrast", rng.uniform(*own.contrast))] if rng.random() < 0.5 else []
    saturation = [("saturation", rng.uniform(*own.saturation))] if rng.random() < 0.5 else []
    hue = [("hue", float(rng.integers(-own.hue, own.hue)))] if rng.random() < 0.5 else []
    return steps + ([] if last else contrast) + saturation + hue + (contrast if last else [])


def _distorted(image: Pixels, step: str, value: float) -> Pixels:
    if step in ("brightness", "contrast"):
        added, factor = (value, 1.0) if step == "brightness" else (0.0, value)
        return np.clip(image.astype(np.float32) * factor + added, 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    if step == "saturation":
        hsv[..., 1] = np.clip(hsv[..., 1].astype(np.float32) * value, 0, 255).astype(np.uint8)
    else:
        hsv[..., 0] = (hsv[..., 0].astype(int) + int(value)) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _swapped(labels: NDArray[np.generic], label_set: LabelSet) -> NDArray[np.generic]:
    for left, right in label_set.flip_pairs:
        lefts, rights = np.where(labels == left), np.where(labels == right)
        labels[lefts], labels[rights] = right, left
    return labels


def _pil_swapped(labels: Image.Image, label_set: LabelSet) -> Image.Image:
    table = list(range(256))
    for left, right in label_set.flip_pairs:
        table[left], table[right] = right, left
    return labels.point(table)


def _masked_edges(labels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Four comparisons, each a masked assignment into a view, and a dilation, in float64."""
    edges = np.zeros(labels.shape)
    whole = slice(None)
    upper, lower, left, right = slice(None, -1), slice(1, None), slice(None, -1), slice(1, None)
    for marked, other in (
        ((lower, whole), (upper, whole)),
        ((whole, left), (whole, right)),
        ((upper, left), (lower, right)),
        ((upper, right), (lower, left)),
    ):
        one, two = labels[marked], labels[other]
        edges[marked][(one != two) & (one != 255) & (two != 255)] = 1
    return cv2.dilate(edges, cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3)))
