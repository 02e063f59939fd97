"""What our own checkpoint files say about themselves: one JSON document in the metadata of a safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from ce2p_runtime.base.typed_json import is_text
from ce2p_runtime.model_files.metadata import untrained_in_words

from ..errors import ConfigError
from ..labels import LabelSet, label_set
from ..models.config import CE2PConfig

__all__ = ["METADATA_KEY", "OwnMetadata", "read_own_metadata"]

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
