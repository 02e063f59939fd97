"""Our own checkpoint format: safetensors, with one JSON document about the network in its metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json
from safetensors.torch import save

from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.base.typed_json import is_text
from ce2p_runtime.model_files.metadata import untrained_in_words

from ..errors import ConfigError
from ..labels import LabelSet, label_set
from ..models.config import CE2PConfig
from ..models.network import CE2P

METADATA_KEY = "ce2p"
"""Key of the document in the file's metadata."""

_MOST_CHARACTERS = 2**20
_LARGEST_SIDE = 4096
"""Of a training input in pixels, as for recipes."""


@dataclass(frozen=True)
class OwnMetadata:
    """The document, checked field by field."""

    config: CE2PConfig
    labels: LabelSet | None
    """None: "custom" classes without names, which the class count numbers."""
    weights: str
    """Where the weights come from, in words."""
    untrained: bool
    """Whether nobody trained them."""
    training: dict[str, Any]
    """What training recorded; an `input_size` in it is [height, width] in pixels."""


def read_own_metadata(text: str) -> OwnMetadata:
    """Read what `save_checkpoint` wrote.

    Raises ConfigError or ValueError: no JSON, nested deeper than 200 levels, a field that lacks, is of another type or
    beyond its range, or fields that contradict each other.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"{len(text):,} characters, expected at most {_MOST_CHARACTERS:,}")
    document = _mapping(from_json(text), "the document")
    config = CE2PConfig.from_dict(_mapping(document.get("config"), "config"))
    dataset, weights = document.get("dataset"), document.get("weights")
    if not isinstance(dataset, str) or not isinstance(weights, str) or not is_text(weights or "unknown"):
        raise ValueError(f"dataset is {dataset!r:.40} and weights {weights!r:.40}, expected printable texts")
    untrained = document.get("untrained", untrained_in_words(weights))
    if not isinstance(untrained, bool):
        raise ValueError(f"untrained is {untrained!r:.40}, expected true or false")
    training = _mapping(document.get("training", {}), "training")
    _check_input_size(training)
    labels = label_set(dataset) if dataset != "custom" else None
    if dataset == "custom" and "labels" in document:
        labels = LabelSet.from_dict(_mapping(document["labels"], "labels"))
    if labels is not None and labels.num_classes != config.num_classes:
        raise ConfigError(f"{labels.num_classes} class names for {config.num_classes} classes")
    return OwnMetadata(config, labels, weights, untrained, training)


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r:.40}, expected keys with values")
    return value


def _check_input_size(training: dict[str, Any]) -> None:
    if "input_size" not in training:
        return
    size = training["input_size"]
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and 0 < n <= _LARGEST_SIDE for n in size):
        raise ValueError(f"input_size is {size!r:.40}, expected [height, width] from 1 to {_LARGEST_SIDE}")


def save_checkpoint(
    path: str | Path,
    net: CE2P,
    labels: LabelSet | str,
    weights: str,
    training: dict[str, Any] | None = None,
    *,
    untrained: bool = False,
) -> Path:
    """Write a network with everything needed to load it again.

    `labels`: its classes, or the short name of a published data set's; "custom" numbers them. `weights` says in words
    where they come from ("trained 300 iterations on synthetic people"), `untrained` whether they are random: then no
    gate judges what is made of them. `training`: what else is worth knowing; an `input_size` [height, width] in it is
    what exports take unless told otherwise.
    Written beside the target and renamed, so a crash leaves the old file or none.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: our checkpoints are .safetensors files")
    document: dict[str, Any] = {
        "config": net.config.to_dict(),
        "weights": weights,
        "untrained": untrained,
        "training": training or {},
    }
    if isinstance(labels, LabelSet) and labels.dataset == "custom":
        document |= {"dataset": "custom", "labels": labels.to_dict()}
    elif labels == "custom":
        document["dataset"] = "custom"
    else:
        document["dataset"] = (label_set(labels) if isinstance(labels, str) else labels).dataset
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    with atomic_path(path) as temporary:
        # Not save_file: it makes files that only their owner may read.
        temporary.write_bytes(save(state, metadata={METADATA_KEY: json.dumps(document)}))
    return path
