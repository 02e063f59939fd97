"""What the tests against hostile checkpoints share: small files to start from, and the work of a child process."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ce2p.checkpoints import load_checkpoint
from ce2p.families import FAMILIES
from ce2p.models import CE2P, CE2PConfig, untrained
from tests.hostile.isolated import Outcome

__all__ = ["CLASSES", "Trap", "load", "narrow_network", "public_names", "unacceptable"]

CLASSES = 3
_acts: list[str] = []
"""What this process did that no file may make it do."""


def narrow_network() -> CE2P:
    """The smallest network there can be in our own format: 4 channels everywhere, 0.2 MB."""
    widths = ("base_width", "pyramid_width", "edge_width", "decoder_width", "shortcut_width")
    config = CE2PConfig.of("schp", "r18", 16, CLASSES)
    return untrained(dataclasses.replace(config, **dict.fromkeys(widths, 4)))


def public_names(net: CE2P) -> dict[str, Tensor]:
    """Its tensors under SCHP's names. The narrow one's have the wrong shapes, which is the last thing looked at."""
    layout = FAMILIES["schp"]
    return {layout.file_key(name): value for name, value in net.state_dict().items()}


class Trap:
    """Unpickled by plain pickle, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def load(path: Path) -> str:
    """Load a checkpoint and use it. Raises AssertionError where that ran code or wrote anything."""
    if not _acts:
        torch.set_num_threads(1)
        sys.addaudithook(_watch)
        _acts.append("")
    del _acts[1:]
    try:
        loaded = load_checkpoint(path)
        with torch.no_grad():
            loaded.net(torch.zeros(1, 3, 33, 33))
        assert min(loaded.input_size) > 0
        return f"{loaded.config.name}, {loaded.labels.num_classes} classes"
    finally:
        assert not _acts[1:], f"loading {path.name} did {_acts[1:]}"


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event.startswith(("os.system", "os.exec", "os.mkdir", "os.remove", "subprocess.", "socket.")):
        _acts.append(f"{event} {arguments!r:.100}")


def unacceptable(outcomes: list[Outcome], names: list[str]) -> list[str]:
    """Each outcome that is neither a network nor a refusal in one line for a user, with the name of its case."""
    found = []
    for name, outcome in zip(names, outcomes, strict=True):
        text = str(outcome.value)
        fine = outcome.kind == "returned"
        if outcome.kind == "refused":
            one_line = "\n" not in text and text.isprintable() and len(text) < 1500
            fine = one_line and text.startswith(f"{outcome.case}: ") and "weights_only" not in text
        if not fine:
            found.append(f"{name}: {outcome.kind}: {text[-1500:]}")
    return found
