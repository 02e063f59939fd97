"""The two libraries that report their use to their makers, imported with that switched off.

Left alone, ONNX Runtime (from 1.29 on) keeps a device id and a database of events in the user's cache folder, with
model file names and processor, and uploads it; OpenVINO writes a client id into the home folder when it is imported,
and sends that it was. Every import of them in this project goes through here. Who has decided for himself is left his
way: whoever set ORT_DISABLE_TELEMETRY, to whatever value, or agreed with OpenVINO's `opt_in_out --opt_in`; and
whatever a program imported before us is its own affair.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

ORT_VARIABLE = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime reads it once, when it is imported: then nothing is written and nobody is called."""
_OPENVINO_TELEMETRY = "openvino_telemetry"
_lock = threading.RLock()


def import_onnxruntime() -> ModuleType:
    """The module onnxruntime. Raises ImportError where it is not installed."""
    with _lock:
        ours = "onnxruntime" not in sys.modules and ORT_VARIABLE not in os.environ
        if ours:
            os.environ[ORT_VARIABLE] = "1"  # for child processes, too
        import onnxruntime

        if ours:
            onnxruntime.disable_telemetry_events()  # Windows builds have only this
    module: ModuleType = onnxruntime
    return module


def import_openvino() -> ModuleType:
    """The module openvino. Raises ImportError where it is not installed."""
    with _lock:
        if "openvino" in sys.modules or openvino_consent():
            import openvino
        else:
            with _hidden(_OPENVINO_TELEMETRY):
                import openvino
    module: ModuleType = openvino
    return module


def openvino_consent() -> bool:
    """Whether this user has agreed to OpenVINO's telemetry, which it keeps as a "1" in a file of its own."""
    with suppress(OSError, RuntimeError):  # RuntimeError: no home folder
        if sys.platform == "win32":
            file = Path(os.environ.get("LOCALAPPDATA", "")) / "Intel Corporation" / _OPENVINO_TELEMETRY
        else:
            file = Path.home() / "intel" / _OPENVINO_TELEMETRY
        return file.is_file() and file.stat().st_size < 16 and file.read_bytes().strip() == b"1"
    return False


def telemetry_state() -> str:
    """One line for people: what of the two is off, and why where it is not."""
    said = os.environ.get(ORT_VARIABLE, "1")
    onnxruntime = "off" if said == "1" else f"as {ORT_VARIABLE}={said:.40} has it"
    openvino = "on, as was agreed with its opt_in_out" if openvino_consent() else "off"
    return f"ONNX Runtime's {onnxruntime}, OpenVINO's {openvino}"


QUIET_IMPORTS: dict[str, Callable[[], ModuleType]] = {"onnxruntime": import_onnxruntime, "openvino": import_openvino}
"""By module."""


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Meanwhile importing `name` fails as if it were not installed; OpenVINO then takes a stub of its own instead.

    It has no other switch that leaves the user's home folder alone: opting out writes there, and reports that.
    """
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # how Python marks what cannot be imported
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
