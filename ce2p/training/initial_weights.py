"""What training starts from: a public ImageNet backbone, loaded exactly, or a whole network to fine-tune.

Which file the published recipes start from, and what tells it apart:

- MIT CSAIL resnet50-imagenet.pth and resnet101-imagenet.pth (CE2P and SCHP): conv1, conv2, conv3 of 64, 64, 128 at
  the top level. Named in SCHP networks/backbone/resnet.py.
- mmseg resnet50_v1c and resnet101_v1c (sssegmentation): stem.0, stem.3, stem.6 of 32, 32, 64. Named in
  ssseg/modules/models/backbones/resnet.py.
- torchvision resnet50 and resnet101, and MS_DeepLab_resnet_pretrained_init.pth (CE2P's first version, M-CE2P): one 7x7
  conv1. In the latter every key has a first part to strip, and layer5 is a classifier to skip (M-CE2P train.py).

Their norms are ordinary BatchNorm and are taken as they are. CE2P, SCHP and M-CE2P put them into InPlaceABN, which
takes |gamma| and so turns the sign of negative ones: not repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints import load_checkpoint
from ..checkpoints.own_format import METADATA_KEY
from ..checkpoints.reading import read_tensors
from ..errors import CheckpointError
from ..families import FAMILIES, recognise
from ..models.config import CE2PConfig
from ..models.network import CE2P


@dataclass(frozen=True)
class InitReport:
    """What came from a file, and what did not."""

    source: str
    """The file and what it is, in words."""
    loaded: int
    """Tensors of the network that hold the file's values now."""
    reinitialised: tuple[str, ...] = ()
    """Layers that keep their random values though the file has them, each with both shapes."""
    unused: tuple[str, ...] = ()
    """Tensors of the file that the network has no place for."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report for people, one fact per line."""
        lines = [f"{self.source}: {self.loaded} tensors loaded"]
        if self.reinitialised:
            lines.append(f"re-initialised: {', '.join(self.reinitialised)}")
        if self.unused:
            lines.append(f"left out: {', '.join(self.unused)}")
        return [*lines, *self.notes]


@dataclass(frozen=True)
class _Backbone:
    """One kind of public backbone file."""

    title: str
    files: str
    """What to look for, in words."""
    family: str
    """A family whose checkpoint layout names the backbone as this file does."""
    prefix: str = ""
    """What that layout has in front."""

    def file_key(self, our_key: str) -> str:
        """`layer1.0.branch.0.conv.weight` -> `layer1.0.conv1.weight`."""
        return FAMILIES[self.family].file_key(f"backbone.{our_key}").removeprefix(self.prefix)


_BACKBONES = {
    "deep-128": _Backbone("MIT CSAIL ResNet (stem 64, 64, 128)", "MIT CSAIL's {}-imagenet.pth", "schp"),
    "deep-64": _Backbone("ResNet v1c (stem 32, 32, 64)", "mmseg's {}_v1c", "ssseg", "backbone_net."),
    "7x7": _Backbone("ResNet with a 7x7 stem", "torchvision's {}", "mce2p"),
}
"""By the stem that the network must have (`CE2PConfig.stem`)."""

_DEPTHS = {"r50": (6, "resnet50"), "r101": (23, "resnet101")}
"""Blocks in layer3, and the public name."""


def load_backbone(net: CE2P, path: str | Path) -> InitReport:
    """Fill `net.backbone` from a public ImageNet file: every tensor, or nothing.

    Raises CheckpointError: no such backbone (the line says which file fits), a missing or ill-shaped tensor, a whole
    network, or no weights at all.
    """
    path = Path(path)
    kind, tensors = _read_backbone(net.config, path)
    state, used, wrong = {}, set(), []
    for ours, slot in net.backbone.state_dict().items():
        key = kind.file_key(ours)
        used.add(key)
        if key not in tensors and key.endswith("num_batches_tracked"):
            state[ours] = torch.zeros_like(slot)  # files from before torch 0.4.1 do not count
        elif key not in tensors:
            wrong.append(f"{key} is missing, expected {_shape(slot)}")
        elif tensors[key].shape != slot.shape:
            wrong.append(f"{key} is {_shape(tensors[key])}, expected {_shape(slot)}")
        elif tensors[key].is_floating_point() != slot.is_floating_point():
            wrong.append(f"{key} is {tensors[key].dtype}, expected {slot.dtype}")
        elif not torch.isfinite(tensors[key]).all():
            wrong.append(f"{key} holds NaN or infinity")
        else:
            state[ours] = tensors[key].to(slot.dtype)
    if wrong:
        more = f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        fits = f"{net.config.family} {net.config.backbone}"
        raise CheckpointError(f"{path}: does not fit {fits}: {'; '.join(wrong[:4])}{more}")
    net.backbone.load_state_dict(state)
    unused = tuple(f"{key} {_shape(value)}" for key, value in tensors.items() if key not in used)
    return InitReport(f"{path.name}, {kind.title}", len(state), unused=unused)


def _read_backbone(config: CE2PConfig, path: Path) -> tuple[_Backbone, dict[str, Tensor]]:
    """The file's tensors, once it is clear that they are the backbone that `config` has."""
    raw = read_tensors(path)
    if METADATA_KEY in raw.metadata or recognise({key.replace(".bn.", ".") for key in raw.tensors}) is not None:
        raise CheckpointError(f"{path}: a whole CE2P network, not a backbone; use --init to start from all of it")
    if config.backbone not in _DEPTHS:
        raise CheckpointError(
            f"{path}: no public backbone fits the tiny {config.backbone}; train it from random weights, or choose r50 "
            "or r101"
        )
    tensors = _without_first_part(raw.tensors)
    depth, public_name = _DEPTHS[config.backbone]
    right = _BACKBONES[config.stem]
    wanted = f"{config.family} {config.backbone} starts from {right.files.format(public_name)}"
    stem = _stem_of(tensors)
    if stem is None:
        sample = ", ".join(list(raw.tensors)[:3])
        raise CheckpointError(f"{path}: {len(tensors)} tensors ({sample}, ...), not a ResNet known here; {wanted}")
    if stem != config.stem:
        fits = " and ".join(name for name, family in FAMILIES.items() if family.wiring.stem == stem)
        found = f"{_BACKBONES[stem].title}, which fits {fits}"
        raise CheckpointError(f"{path}: a {found}; expected a {right.title}; {wanted}")
    blocks = sum(f"layer3.{i}.conv1.weight" in tensors for i in range(64))
    if blocks != depth:
        raise CheckpointError(f"{path}: layer3 has {blocks} blocks, expected {depth}; {wanted}")
    return right, tensors


def load_weights(net: CE2P, path: str | Path) -> InitReport:
    """Fill `net` from a checkpoint of its own family and backbone: any that `load_checkpoint` reads.

    Where the class count differs, the classifiers keep the random values they were built with, and are named. The
    output stride may differ: the tensors are the same. Raises CheckpointError when anything else differs.
    """
    path = Path(path)
    loaded = load_checkpoint(path)
    theirs, ours = loaded.config.to_dict(), net.config.to_dict()
    differing = [key for key in ours if theirs[key] != ours[key] and key not in ("num_classes", "output_stride")]
    if differing:
        # The family decides about most of the others: naming it first says it all.
        found = ", ".join(f"{key} {theirs[key]}" for key in differing[:3])
        expected = ", ".join(f"{key} {ours[key]}" for key in differing[:3])
        raise CheckpointError(
            f"{path}: does not fit the network to train: found {found}; expected {expected}; choose a checkpoint of "
            "the same family and backbone, or change the model and family"
        )
    source, target = loaded.net.state_dict(), net.state_dict()
    kept = [key for key, value in target.items() if source[key].shape != value.shape]
    net.load_state_dict({key: target[key] if key in kept else value for key, value in source.items()})
    notes = []
    if not kept:
        notes.append(
            f"classifiers kept: the file has {net.config.num_classes} classes too; check that they are the same"
        )
    if loaded.layout == "ce2p" and loaded.config.output_stride != net.config.output_stride:  # public files do not tell
        notes.append(f"output stride {net.config.output_stride} here, {loaded.config.output_stride} in the file")
    return InitReport(
        f"{path.name}, {loaded.layout} {loaded.config.name}, {loaded.config.num_classes} classes",
        len(target) - len(kept),
        tuple(f"{key} {_shape(target[key])} ({_shape(source[key])} in the file)" for key in kept),
        notes=tuple(notes),
    )


def _without_first_part(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """MS_DeepLab's file: one name in front of all keys, e.g. `Scale.conv1.weight`."""
    firsts = {key.partition(".")[0] for key in tensors}
    if len(firsts) == 1 and all("." in key for key in tensors):
        return {key.partition(".")[2]: value for key, value in tensors.items()}
    return tensors


def _stem_of(tensors: dict[str, Tensor]) -> str | None:
    """`CE2PConfig.stem` of a backbone file; None where it is none of the three."""
    if "layer1.0.conv1.weight" not in tensors:
        return None
    if "stem.0.weight" in tensors:
        return "deep-64"
    first = tensors.get("conv1.weight")
    if first is None or first.ndim != 4:
        return None
    return "7x7" if first.shape[-1] == 7 else "deep-128"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
