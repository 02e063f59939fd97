"""What was measured when a backend was chosen, and the memory of it: one small file per network and machine."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.bounded_json import read_json
from ..base.cache import cache_folder, read_cached
from ..base.files import atomic_path
from ..errors import MediaError
from ..measuring.machine import cpu_model, usable_cores
from ..model_files.onnx_file import onnx_digest, onnx_properties
from .registry import backend_versions

logger = logging.getLogger(__name__)

_FORMAT = 1
_LARGEST = 1 << 16
"""Bytes of a file of the memory: a few options and one line for each that failed."""

_of_this_process: dict[str, BackendChoice] = {}
"""By key: choices that are too noisy to be written."""


@dataclass(frozen=True)
class Option:
    """A backend with a number of threads; None for its library's own default."""

    backend: str
    threads: int | None = None

    def __str__(self) -> str:
        if self.threads is None:
            return self.backend
        return f"{self.backend} with {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True)
class BackendChoice:
    """Why "auto" took a backend."""

    option: Option
    """What was taken."""
    median_ms: dict[str, float]
    """Milliseconds of one forward pass by option, in words; empty where there was nothing to compare with."""
    left_out: dict[str, str]
    """Options that were not timed, in words, with the reason in one line."""
    measured: str
    """The day, as "2026-01-31"."""
    remembered: bool = False
    """Whether this was measured earlier than now."""
    noise: str = ""
    """What speaks against the times, in words; such a choice lasts as long as the process."""

    @property
    def description(self) -> str:
        """One line for people, the fastest first."""
        ranking = sorted(self.median_ms.items(), key=lambda item: item[1])
        times = ", ".join(f"{option} {_figure(ms)} ms" for option, ms in ranking)
        failed = [f"{option} left out: {reason}" for option, reason in self.left_out.items()]
        when = f"remembered from {self.measured}" if self.remembered else "measured now"
        if self.noise:
            when += f", not to be relied on and not kept: {self.noise}"
        return "; ".join([f"chosen by time: {times}" if times else "the only one that runs", *failed, when])


def choice_key(path: Path, options: Sequence[Option]) -> str:
    """Hex digest of everything the choice depends on: the network, the machine, the versions, what there is to choose.

    The network is known by its bytes and not by its name, size and time, so that a copy is recognised and a file that
    was written over is not taken for the old one. They are hashed once, as loading needs them hashed, too: 0.3 s for
    the 270 MB of a ResNet-101. Raises ModelFileError and OSError.
    """
    facts = {
        "format": _FORMAT,
        "model": [onnx_digest(path), onnx_properties(path)],
        "cpu": cpu_model(),
        "cores": [os.cpu_count(), usable_cores()],
        "versions": backend_versions(dict.fromkeys(option.backend for option in options)),
        "options": [str(option) for option in options],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def recall(key: str, options: Sequence[Option]) -> BackendChoice | None:
    """The choice remembered under a key; None where there is none that can be read."""
    if key in _of_this_process:
        return dataclasses.replace(_of_this_process[key], remembered=True)
    file = _file(key)
    try:
        document = read_json(read_cached(file, _LARGEST), what="its content")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s: a remembered backend cannot be read, measuring again (%s)", file, error)
        return None
    choice = _read(document, key, options)
    if choice is None:
        logger.warning("%s: holds no backend's times for this network, measuring again", file)
        return None
    return choice


def remember(key: str, model: str, choice: BackendChoice) -> None:
    """Keep a choice for the next time, a noisy one for this process; one warning where that cannot be.

    `model` is for people who read the file.
    """
    if choice.noise:
        _of_this_process[key] = choice
        return
    _of_this_process.pop(key, None)
    document = {"format": _FORMAT, "key": key, "model": model, **dataclasses.asdict(choice)}
    del document["remembered"], document["noise"]
    try:
        with atomic_path(_file(key)) as temporary:
            temporary.write_text(json.dumps(document, indent=1), "utf-8")
    except (OSError, MediaError) as error:
        logger.warning("the choice of a backend is not remembered: %s", error)


def forget(key: str) -> None:
    """Measure anew the next time."""
    _of_this_process.pop(key, None)
    with suppress(OSError):  # the next one to read it says what is wrong
        _file(key).unlink()


def _figure(ms: float) -> str:
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"


def _file(key: str) -> Path:
    return cache_folder("backends") / f"{key[:32]}.json"


def _read(document: Any, key: str, options: Sequence[Option]) -> BackendChoice | None:
    """What `remember` wrote under this key about these options, or None for anything else."""
    named = {str(option): option for option in options}
    try:
        if document["key"] != key or document["format"] != _FORMAT:
            return None
        option = named[str(Option(**document["option"]))]
        times = {str(named[name]): float(value) for name, value in document["median_ms"].items()}
        left_out = {str(named[name]): str(reason) for name, reason in document["left_out"].items()}
        measured = str(datetime.date.fromisoformat(document["measured"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if not all(value > 0 for value in times.values()):
        return None
    return BackendChoice(option, times, left_out, measured, remembered=True)
