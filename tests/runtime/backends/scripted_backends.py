"""Backends that take the time they are told to, on a clock of their own: for the choice among them."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from ce2p_runtime import BackendError, ModelMetadata
from ce2p_runtime.backends import BACKENDS, Backend, BackendChoice, choice, choice_memory, choice_timing
from ce2p_runtime.backends.registry import BackendEntry
from ce2p_runtime.base.cache import CACHE_VARIABLE
from ce2p_runtime.model_files.metadata import METADATA_KEY, Geometry, Normalisation
from ce2p_runtime.model_files.onnx_file import exported_metadata

__all__ = ["Scene", "cached", "put_cores", "reason", "set_scene", "write_model"]

METADATA = ModelMetadata(
    family="schp",
    dataset="two",
    class_names=("Background", "Coat"),
    palette=((0, 0, 0), (255, 0, 0)),
    flip_pairs=(),
    normalisation=Normalisation("bgr", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    geometry=Geometry("resize", True, "float", "logits"),
    align_corners=False,
    input_size=(8, 12),
    output_stride=16,
    input_kind="float",
    output_kind="logits",
    precision="fp32",
    weights="untrained",
    untrained=True,
)


def write_model(path: Path, **changes: Any) -> Path:
    """A file with metadata and nothing else: no backend here looks further."""
    proto = onnx.ModelProto(ir_version=10, producer_name="test")
    proto.metadata_props.add(key="other", value="x")
    proto.metadata_props.add(key=METADATA_KEY, value=dataclasses.replace(METADATA, **changes).to_json())
    path.write_bytes(proto.SerializeToString())
    return path


@dataclass
class Scene:
    """What the scripted backends do, and what was done with them."""

    milliseconds: dict[str, Callable[[int | None], float]] = field(default_factory=dict)
    """By backend: what a run takes, by number of threads."""
    no_load: set[str] = field(default_factory=set)
    fails_at_run: dict[str, int] = field(default_factory=dict)
    """By backend: the run that fails."""
    now: float = 0.0
    loaded: list[tuple[str, str, int | None]] = field(default_factory=list)
    closed: list[tuple[str, int | None]] = field(default_factory=list)
    batches: list[tuple[str, NDArray[Any]]] = field(default_factory=list)

    def runs(self, name: str) -> int:
        return sum(who == name for who, _ in self.batches)

    def entry(self, called: str, **facts: Any) -> BackendEntry:
        scene = self

        class Scripted(Backend):
            name = called
            device = "cpu"

            def __init__(self, path: Path, device: str, threads: int | None) -> None:
                scene.loaded.append((called, device, threads))
                if called in scene.no_load:
                    raise BackendError(f"{called} does not load\nmore lines")
                self.threads = threads
                self.metadata = exported_metadata(path)
                self.batch = None

            def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
                scene.batches.append((called, batch))
                if scene.runs(called) == scene.fails_at_run.get(called):
                    raise RuntimeError(f"{called} broke")
                scene.now += scene.milliseconds[called](self.threads) / 1e3
                return [np.zeros((len(batch), 2, 2, 3), self.metadata.io)]

            def close(self) -> None:
                scene.closed.append((called, self.threads))

        made: dict[str, Any] = {
            "name": called,
            "title": called,
            "module": "ce2p_runtime",  # which is installed
            "distributions": (called,),
            "extra": called,
            "devices": ("cpu",),
            "open": lambda path, how: Scripted(path, how.device, how.threads),
        }
        return BackendEntry(**{**made, **facts})


def set_scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scene:
    """Two backends, "slow" and "fast", on a machine of two cores without hyperthreads, with an empty cache."""
    made = Scene({"slow": lambda _: 20.0, "fast": lambda _: 10.0})
    for name, entry in list(BACKENDS.items()):
        monkeypatch.setitem(BACKENDS, name, dataclasses.replace(entry, module="not_installed"))
    for name in made.milliseconds:
        monkeypatch.setitem(BACKENDS, name, made.entry(name))
    monkeypatch.setattr(time, "perf_counter", lambda: made.now)
    monkeypatch.setattr(time, "perf_counter_ns", lambda: round(made.now * 1e9))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(choice_timing, "_TASKS", tmp_path / "task")
    monkeypatch.setattr(choice_memory, "_of_this_process", {})
    put_cores(monkeypatch, tmp_path / "cpu", usable=2, siblings=["0", "1"])
    return made


def put_cores(monkeypatch: pytest.MonkeyPatch, folder: Path, usable: int, siblings: list[str]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(usable)), raising=False)
    monkeypatch.setattr(choice, "_TOPOLOGY", folder)
    for number, text in enumerate(siblings):
        (folder / f"cpu{number}/topology").mkdir(parents=True)
        (folder / f"cpu{number}/topology/thread_siblings_list").write_text(f"{text}\n")


def reason(backend: Backend) -> BackendChoice:
    assert isinstance(backend.choice, BackendChoice)
    return backend.choice


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache/backends").iterdir())
