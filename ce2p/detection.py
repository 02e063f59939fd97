"""People in a picture by torchvision's Mask R-CNN: one way to get the instances that multi-person parsing wants.

M-CE2P used Detectron's Mask R-CNN R-101-FPN, SCHP a cascade fine-tuned on CIHP; torchvision's ResNet-50 networks, which
are trained on COCO, take their place here. Boxes and masks come as the network gives them; what is done with them
(threshold, enlarging, order) is the runtime's matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models import detection as zoo

from ce2p_runtime.base.text import first_line

from .checkpoints.reading import read_tensors
from .errors import CheckpointError, ConfigError

_PERSON = 1
"""COCO's class of people; 0 is the background."""
_INSIDE = 0.5
"""From this probability on a pixel belongs to the mask: M-CE2P's and SCHP's detectors binarise there, too."""
_MOST_CLASSES = 10_000
_CLASSIFIER = "roi_heads.box_predictor.cls_score.weight"
_V2_ONLY = "backbone.fpn.inner_blocks.0.1.weight"
"""The second version of the network has BatchNorm in its feature pyramid, the first has none."""


@dataclass(frozen=True, eq=False)
class DetectedPerson:
    """One person in a picture of H×W pixels."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels, (0, 0) the outer corner of the first one."""
    mask: NDArray[np.bool_]
    """bool [H, W]."""
    score: float


class MaskRCNN:
    """Finds people; in evaluation mode, deterministic on a CPU.

    `weights`: a file of torchvision's maskrcnn_resnet50_fpn or _v2, of any number of classes with people as class 1.
    None downloads the v2 network trained on COCO into torch's cache (about 180 MB). `device`: auto (a GPU if there is
    one), cpu, cuda, cuda:N. Raises CheckpointError for weights that do not fit or cannot be had, ConfigError for a
    device that is not there.
    """

    def __init__(self, weights: Path | None = None, device: str = "auto") -> None:
        tensors = _download() if weights is None else read_tensors(weights).tensors
        origin = "torchvision's weights for COCO" if weights is None else str(weights)
        self._start(_filled(tensors, origin), origin, device)

    @classmethod
    def on(cls, network: zoo.MaskRCNN, name: str, device: str = "cpu") -> MaskRCNN:
        """A detector around a network made elsewhere."""
        detector = cls.__new__(cls)
        detector._start(network, name, device)
        return detector

    def _start(self, network: zoo.MaskRCNN, origin: str, device: str) -> None:
        self.device = _device(device)
        self.description = f"Mask R-CNN ({origin}) on {self.device}"
        """One line for people: which network runs where."""
        self._network = network.eval().to(self.device)

    def __call__(self, frame: NDArray[np.uint8], threshold: float = 0.7) -> list[DetectedPerson]:
        """The people in a frame, uint8 BGR [H, W, 3], with a score of at least `threshold`, highest score first.

        A person whose mask has no pixel is left out.
        """
        picture = torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1])).permute(2, 0, 1)
        with torch.inference_mode():
            found = self._network([picture.to(self.device, torch.float32) / 255])[0]
        return _people({name: tensor.cpu() for name, tensor in found.items()}, threshold)


def _people(found: dict[str, Tensor], threshold: float) -> list[DetectedPerson]:
    """`found` as torchvision gives it: boxes [N, 4], labels and scores [N], masks [N, 1, H, W] of probabilities."""
    people = []
    for index in torch.argsort(found["scores"], descending=True, stable=True).tolist():
        score = float(found["scores"][index])
        mask = (found["masks"][index, 0] >= _INSIDE).numpy()
        if int(found["labels"][index]) != _PERSON or score < threshold or not mask.any():
            continue
        x0, y0, x1, y1 = found["boxes"][index].tolist()
        people.append(DetectedPerson((x0, y0, x1, y1), mask, score))
    return people


def _filled(tensors: dict[str, Tensor], origin: str) -> zoo.MaskRCNN:
    """The network these tensors fit. Raises CheckpointError."""
    if _CLASSIFIER not in tensors:
        raise CheckpointError(
            f"{origin}: has no {_CLASSIFIER}, so it is no Mask R-CNN of torchvision; expected weights of "
            "maskrcnn_resnet50_fpn or maskrcnn_resnet50_fpn_v2"
        )
    make: Any = zoo.maskrcnn_resnet50_fpn_v2 if _V2_ONLY in tensors else zoo.maskrcnn_resnet50_fpn
    classes = tensors[_CLASSIFIER].shape[0] if tensors[_CLASSIFIER].ndim else 0
    if not 2 <= classes <= _MOST_CLASSES:
        raise CheckpointError(f"{origin}: {_CLASSIFIER} has {classes} classes, expected 2 to {_MOST_CLASSES}")
    network = make(weights=None, weights_backbone=None, num_classes=classes)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        # torch lists every tensor on a line of its own; the first one names the problem.
        first = " ".join(str(error).split("\n\t")[1].split())[:200] if "\n\t" in str(error) else str(error)
        raise CheckpointError(f"{origin}: does not fit {make.__name__} ({first}); expected its own weights") from error
    return network


def _download() -> dict[str, Tensor]:
    """torchvision's published weights, read without running code from them."""
    source = zoo.MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1
    try:
        return dict(source.get_state_dict(progress=False, check_hash=True, weights_only=True, map_location="cpu"))
    except (OSError, RuntimeError) as error:  # no network or disk; another file than the hash in its name says
        raise CheckpointError(
            f"{source.url}: cannot be downloaded ({error}); fetch it where there is a network and name the file "
            "(--detector-weights), or bring the people yourself (--instances)"
        ) from error


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise ConfigError(f"device {name!r}: is not there for PyTorch ({reason}); use cpu or another GPU") from error
    return device
