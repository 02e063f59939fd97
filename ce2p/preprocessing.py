"""How each family prepares a picture and reads its network's output: colours, statistics, geometry, input size.

Read in the public code (CE2P evaluate.py and dataset/datasets.py, SCHP simple_extractor.py, M-CE2P evaluate.py,
sssegmentation ssseg/configs/_base_/datasets/). Quirks are kept, because the published weights were trained with them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ce2p_runtime.model_files.metadata import Geometry, Normalisation

from .models.config import Family

__all__ = ["Preprocessing", "default_input_size", "preprocessing_for"]


@dataclass(frozen=True)
class Preprocessing:
    """From a BGR uint8 frame to the network's input tensor, and back."""

    normalisation: Normalisation
    geometry: Geometry


_BGR_MEAN, _BGR_STD = (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)
_RGB_MEAN, _RGB_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_STRETCHED = Geometry("resize", half_pixel=False, centre="float", unwarp="logits")
_SSSEG = Preprocessing(Normalisation("rgb", 1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)), _STRETCHED)

_BY_FAMILY: dict[Family, Preprocessing] = {
    # RGB statistics on BGR channels: a slip in the public code that its weights have learnt.
    "ce2p": Preprocessing(
        Normalisation("bgr", 1 / 255, _RGB_MEAN, _RGB_STD),
        Geometry("affine", half_pixel=True, centre="int", unwarp="labels"),
    ),
    "schp": Preprocessing(
        Normalisation("bgr", 1 / 255, _BGR_MEAN, _BGR_STD),
        Geometry("affine", half_pixel=False, centre="float", unwarp="logits"),
    ),
    "mce2p": Preprocessing(
        Normalisation("bgr", 1.0, (104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0)), _STRETCHED
    ),
    "ssseg-2020": _SSSEG,
    "ssseg": _SSSEG,
}

_INPUT_SIZES: dict[tuple[str, str], int] = {
    ("schp", "atr"): 512,
    ("schp", "ppp"): 512,
    ("ssseg", "voc"): 512,
    ("ssseg-2020", "voc"): 512,
}


def preprocessing_for(family: Family) -> Preprocessing:
    """The conventions of a family's own extractor or evaluation script."""
    return _BY_FAMILY[family]


def default_input_size(family: Family, dataset: str) -> int:
    """Side of the square input in pixels that the family's published networks of that dataset use."""
    if family == "ce2p":
        return 384
    return _INPUT_SIZES.get((family, dataset), 473)
