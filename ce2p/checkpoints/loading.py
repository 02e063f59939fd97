"""From a checkpoint file to a network: recognise, check every name and shape, convert, fill. All or nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ce2p_runtime.base.files import file_sha256

from ..errors import CheckpointError, ConfigError
from ..families import FAMILIES, Family, default_input_size, recognise
from ..labels import LABEL_SETS, LabelSet, guess_dataset, label_set
from ..models.config import CE2PConfig
from ..models.network import CE2P
from .own_format import METADATA_KEY, read_own_metadata
from .reading import RawCheckpoint, read_tensors, shown

INPLACE_ABN_EPS = 1e-5


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A network with its weights, in eval mode, and what was found out about the file."""

    net: CE2P
    config: CE2PConfig
    labels: LabelSet
    path: Path
    sha256: str
    layout: str
    wrapper: str
    norm: str
    """"InPlaceABN, converted" or "BatchNorm"."""
    weights: str
    """Where the weights come from, in words, for the metadata of exported files."""
    untrained: bool = False
    """Whether nobody trained them: the file says so itself."""
    notes: tuple[str, ...] = ()
    """Assumptions the file itself could not settle, each with the option that overrides it."""
    training: dict[str, Any] = field(default_factory=dict)
    """What our own training recorded (empty for public files)."""

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) in pixels that the network was trained at, as far as known; else its family's own."""
        side = default_input_size(self.config.family, self.labels.dataset)
        height, width = self.training.get("input_size", (side, side))
        return int(height), int(width)


def load_checkpoint(
    path: str | Path, *, dataset: str | None = None, output_stride: int | None = None
) -> LoadedCheckpoint:
    """Load any checkpoint of the five families, or our own safetensors format.

    `dataset` names the label set where the class count leaves a choice (LIP and CIHP both have 20).
    `output_stride` is needed where the keys do not tell it; see `notes` of the result.
    Raises CheckpointError: unreadable file, unknown layout, or any missing, unexpected or ill-shaped tensor.
    """
    raw = read_tensors(Path(path))
    if METADATA_KEY in raw.metadata:
        return _load_own(raw, dataset, output_stride)
    # SCHP's first generation held real BatchNorm, under `.bn.` in the head. Nothing else tells it from InPlaceABN when
    # torch was too old (0.4.0) to count batches.
    first_schp = any(".bn." in key for key in raw.tensors)
    tensors = {key.replace(".bn.", "."): value for key, value in raw.tensors.items()}
    if len(tensors) < len(raw.tensors):
        raise CheckpointError(f"{raw.path}: names tensors twice, with and without '.bn'; expected one of the two")
    family = recognise(tensors.keys())
    if family is None:
        raise CheckpointError(_unknown_layout(raw))
    batchnorm = not family.inplace_abn or first_schp or any(key.endswith("num_batches_tracked") for key in tensors)
    notes: list[str] = []
    stride = _default_stride(family, notes) if output_stride is None else output_stride
    backbone, classes = _backbone_of(family, tensors, raw.path), _classes_of(family, tensors, raw.path)
    config = CE2PConfig.of(family.name, backbone, stride, classes)
    labels = _labels_for(config, dataset, raw.path, notes)
    net = _fill(config, tensors, family, batchnorm, raw.path)
    return LoadedCheckpoint(
        net=net,
        config=config,
        labels=labels,
        path=raw.path,
        sha256=file_sha256(raw.path),
        layout=family.title,
        wrapper=raw.wrapper,
        norm="BatchNorm" if batchnorm else "InPlaceABN, converted exactly: gamma = |w| + 1e-5",
        weights=f"checkpoint {raw.path.name}",
        notes=tuple(notes),
    )


def _load_own(raw: RawCheckpoint, dataset: str | None, output_stride: int | None) -> LoadedCheckpoint:
    try:
        own = read_own_metadata(raw.metadata[METADATA_KEY])
    except (ValueError, ConfigError) as error:
        raise CheckpointError(f"{raw.path}: its ce2p metadata cannot be read ({error}); save it again") from None
    config = own.config
    if output_stride not in (None, config.output_stride):
        raise CheckpointError(
            f"{raw.path}: trained at output stride {config.output_stride}, --os {output_stride} asked for; "
            "leave the option out"
        )
    if own.labels is not None and dataset is not None and label_set(dataset).dataset != own.labels.dataset:
        raise CheckpointError(
            f"{raw.path}: trained on the classes of {own.labels.title}, --dataset {dataset} asked for; "
            "leave the option out"
        )
    notes: list[str] = []
    labels = own.labels or _labels_for(config, dataset, raw.path, notes)
    net = _fill(config, raw.tensors, None, True, raw.path)
    return LoadedCheckpoint(
        net=net,
        config=config,
        labels=labels,
        path=raw.path,
        sha256=file_sha256(raw.path),
        layout="ce2p",
        wrapper=raw.wrapper,
        norm="BatchNorm",
        weights=own.weights,
        untrained=own.untrained,
        notes=tuple(notes),
        training=own.training,
    )


def _fill(config: CE2PConfig, tensors: dict[str, Tensor], family: Family | None, batchnorm: bool, path: Path) -> CE2P:
    """A network whose every tensor comes from the file; raises when the two sets of names or shapes differ."""
    try:
        with torch.device("meta"):
            net = CE2P(config)
    except (ValueError, RuntimeError) as error:  # only our own metadata can ask for such widths
        raise CheckpointError(f"{path}: no network can be made of its configuration ({error}); save it again") from None
    norms = {name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}
    counted = any(key.endswith("num_batches_tracked") for key in tensors)  # InPlaceABN and torch 0.4.0 do not
    state, wrong, expected = {}, [], set()
    for ours, slot in net.state_dict().items():
        module, _, parameter = ours.rpartition(".")
        if parameter == "num_batches_tracked" and not counted:
            state[ours] = torch.tensor(0)
            continue
        key = family.file_key(ours) if family else ours
        expected.add(key)
        if key not in tensors:
            wrong.append(f"missing {key} {_shape(slot)}")
        elif tensors[key].shape != slot.shape:
            wrong.append(f"{key} is {_shape(tensors[key])}, expected {_shape(slot)}")
        elif tensors[key].is_floating_point() != slot.is_floating_point():
            wrong.append(f"{key} is {tensors[key].dtype}, expected {slot.dtype}")
        else:
            value = tensors[key].to(slot.dtype)
            value = value if value.is_contiguous() else value.clone()  # expanded: one number in many places
            is_abn_gamma = not batchnorm and parameter == "weight" and module in norms
            state[ours] = value.abs() + INPLACE_ABN_EPS if is_abn_gamma else value
    wrong += [f"unexpected {shown(key)} {_shape(value)}" for key, value in tensors.items() if key not in expected]
    if wrong:
        listed = "; ".join(wrong[:6]) + (f"; and {len(wrong) - 6} more" if len(wrong) > 6 else "")
        raise CheckpointError(f"{path}: does not fit {config.name} with {config.num_classes} classes: {listed}")
    net.load_state_dict(state, assign=True)
    for name, value in net.state_dict().items():
        if not torch.isfinite(value).all():
            key = family.file_key(name) if family else name
            raise CheckpointError(f"{path}: {key} holds NaN or infinity; this file was damaged or training diverged")
    return net.eval().requires_grad_(True)


def _shape(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape)) or 'scalar':.60}"


def _unknown_layout(raw: RawCheckpoint) -> str:
    sample = ", ".join(map(shown, list(raw.tensors)[:3])) or "no tensors"
    titles = ", ".join(family.title for family in FAMILIES.values())
    return (
        f"{raw.path}: {len(raw.tensors)} tensors ({sample}, ...) in none of the layouts known ({titles}, ce2p); "
        "expected a CE2P-family state_dict"
    )


def _default_stride(family: Family, notes: list[str]) -> int:
    assumed, *others = family.strides
    notes += [
        f"output stride {assumed} assumed (the file does not tell; --os {other} for the OS{other} networks)"
        for other in others
    ]
    return assumed


def _backbone_of(family: Family, tensors: dict[str, Tensor], path: Path) -> str:
    depth = sum(family.file_key(f"backbone.layer3.{i}.branch.0.conv.weight") in tensors for i in range(64))
    backbones = {2: "r18", 6: "r50", 23: "r101"}
    if depth not in backbones:
        raise CheckpointError(f"{path}: layer3 has {depth} blocks; expected 6 (ResNet-50) or 23 (ResNet-101)")
    return backbones[depth]


def _classes_of(family: Family, tensors: dict[str, Tensor], path: Path) -> int:
    """The class count of the final classifier; the stage-1 classifier must agree."""
    counts = {}
    for head in ("fusion.classifier.weight", "stage1_classifier.weight"):
        key = family.file_key(head)
        if key not in tensors:
            raise CheckpointError(
                f"{path}: {key} is missing, the class count cannot be told; is this a whole checkpoint?"
            )
        counts[key] = tensors[key].shape[0] if tensors[key].ndim else 0
    if len(set(counts.values())) > 1:
        found = " but ".join(f"{key} has {count}" for key, count in counts.items())
        raise CheckpointError(f"{path}: class counts disagree, {found}; expected the same in both classifiers")
    count = next(iter(counts.values()))
    if not 2 <= count <= 255:
        raise CheckpointError(f"{path}: its classifiers have {count} classes, expected 2 to 255")
    return count


def _labels_for(config: CE2PConfig, dataset: str | None, path: Path, notes: list[str]) -> LabelSet:
    if dataset is not None:
        labels = label_set(dataset)
        if labels.num_classes != config.num_classes:
            raise CheckpointError(
                f"{path}: has {config.num_classes} classes, {labels.title} has {labels.num_classes}; "
                f"choose another --dataset (this looks like {guess_dataset(config.num_classes).title})"
            )
        return labels
    labels = guess_dataset(config.num_classes)
    notes += [
        f"labels of {labels.dataset.upper()} assumed ({labels.num_classes} classes; --dataset {other} for a "
        f"{other.upper()} network)"
        for other, known in LABEL_SETS.items()
        if known.num_classes == labels.num_classes and other != labels.dataset
    ]
    return labels
