"""Our own checkpoint format: safetensors, with the configuration in its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from ce2p_runtime.base.files import atomic_path

from ..labels import LabelSet, label_set
from ..models.network import CE2P
from .own_metadata import METADATA_KEY

__all__ = ["save_checkpoint"]


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
