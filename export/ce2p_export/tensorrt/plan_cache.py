"""When an engine can stay: its sidecar names everything it was built from, and the first difference is the reason.

Also the timing cache: TensorRT's measurements, kept per user. It does not tell two kernels of the same plugin apart, so
the kernels' hash is part of its name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ce2p_runtime.base.cache import cache_folder, read_cached
from ce2p_runtime.base.files import atomic_path, file_sha256
from ce2p_runtime.errors import MediaError, ModelFileError
from ce2p_runtime.model_files.engine_file import EngineSidecar, read_sidecar

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanKey:
    """All that decides what is in a plan, in the order in which differences are named."""

    onnx: str
    """SHA-256 of the file."""
    kernels: dict[str, str]
    """Our op -> SHA-256 of its kernel's sources; empty without plugins."""
    tensorrt: str
    architecture: str
    precision: str
    size: tuple[int, int]
    batches: tuple[int, ...] | None
    settings: dict[str, Any]
    """The rest of BuildSettings."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON gives it back."""
        return dict(json.loads(json.dumps(dataclasses.asdict(self))))


def reason_to_rebuild(old: EngineSidecar | None, new: PlanKey) -> str | None:
    """The first thing that changed, in one line, or None when the engine is up to date."""
    if old is None:
        return "there is no engine yet"
    before, after = old.build.get("key"), new.to_dict()
    if not isinstance(before, dict):
        return "its sidecar does not say what it was built from"
    for name, title in _TITLES.items():
        was, now = before.get(name), after[name]
        if was == now:
            continue
        if name in ("onnx", "kernels"):
            return f"{title} changed" + (f" ({_changed(was, now)})" if name == "kernels" else "")
        if name == "settings":
            return f"{title} changed ({_changed(was, now)})"
        join = "x" if name == "size" else ","
        return f"{title} changed: {_shown(was, join)} -> {_shown(now, join)}"
    return None


def reusable(engine: Path, key: PlanKey) -> tuple[EngineSidecar | None, str]:
    """The sidecar of `engine` when it can stay, else None and the one-line reason."""
    if not engine.is_file():
        return None, "there is no engine yet"
    try:
        sidecar = read_sidecar(engine)
    except ModelFileError as error:
        return None, str(error)
    reason = reason_to_rebuild(sidecar, key)
    if reason is None and file_sha256(engine) != sidecar.plan_sha256:
        reason = f"{engine.name} is not the plan its sidecar describes"
    if reason is None:
        for name, digest in sidecar.kernels.items():
            beside = engine.with_name(name)
            if not beside.is_file() or file_sha256(beside) != digest:
                reason = f"{name} beside it is missing or changed"
    return (sidecar, "") if reason is None else (None, reason)


def timing_cache_path(tensorrt: str, architecture: str, kernels: dict[str, str]) -> Path:
    """Where measurements for this version, device and these kernels are kept."""
    digest = hashlib.sha256(json.dumps(kernels, sort_keys=True).encode()).hexdigest()
    return cache_folder("timing") / f"trt{tensorrt}_{architecture}_{digest[:16]}.cache"


def read_timing_cache(path: Path) -> bytes:
    """What an earlier build left, or nothing."""
    try:
        return read_cached(path)
    except OSError:
        return b""


def keep_timing_cache(path: Path, content: bytes) -> None:
    """Write it for the next build. That it cannot be written is worth a warning, not a failed build."""
    if not content:
        return
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except (OSError, MediaError) as error:
        logger.warning("TensorRT's measurements are not kept: %s", error)


_TITLES = {
    "onnx": "the ONNX file",
    "kernels": "our kernels",
    "tensorrt": "TensorRT's version",
    "architecture": "the GPU architecture",
    "precision": "the precision",
    "size": "the input size",
    "batches": "the batch sizes",
    "settings": "the settings",
}


def _changed(was: Any, now: Any) -> str:
    """Which entries of two dictionaries differ."""
    was, now = was if isinstance(was, dict) else {}, now if isinstance(now, dict) else {}
    names = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
    return ", ".join(names)


def _shown(value: Any, join: str) -> str:
    return join.join(map(str, value)) if isinstance(value, list) else str(value)
