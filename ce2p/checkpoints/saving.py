"""Our own checkpoint format: safetensors, with the configuration in its metadata."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..models.network import CE2P
from .loading import METADATA_KEY

__all__ = ["save_checkpoint"]


def save_checkpoint(
    path: str | Path, net: CE2P, dataset: str, weights: str, training: dict[str, Any] | None = None
) -> Path:
    """Write a network with everything needed to load it again.

    `weights` says in words where they come from ("trained 300 iterations on synthetic people", "untrained, seed 0").
    Written beside the target and renamed, so a crash leaves the old file or none.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: our checkpoints are .safetensors files")
    document = {"config": net.config.to_dict(), "dataset": dataset, "weights": weights, "training": training or {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}{path.suffix}")
    try:
        state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
        save_file(state, temporary, metadata={METADATA_KEY: json.dumps(document)})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
