"""What can be known before the work starts: backends that are not there or do not run the file, missing pictures."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from ce2p.data.layouts import recognise
from ce2p.errors import ConfigError
from ce2p_runtime import BackendError, ModelMetadata
from ce2p_runtime.backends import BACKENDS, DEVICE_BACKENDS, precision_refusal
from ce2p_runtime.backends.base import check_model_file, metadata_from
from ce2p_runtime.destinations import check_destination, check_folder
from ce2p_runtime.media.listing import list_pictures
from ce2p_runtime.onnx_file import onnx_properties
from ce2p_runtime.text import install_hint

__all__ = [
    "backend_names",
    "check_json",
    "check_pictures",
    "check_precision",
    "check_proof",
    "check_report",
    "exported_metadata",
]


def backend_names(text: str | None, option: str, *, for_exports: bool = False) -> tuple[str, ...]:
    """`onnxruntime, openvino` -> their names, each once; None -> (). `for_exports`: those that judge exported files.

    Raises BackendError for a name that is unknown or not installed, ConfigError for none.
    """
    if text is None:
        return ()
    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    known = tuple(BACKENDS) if for_exports else ("auto", *BACKENDS, *DEVICE_BACKENDS)
    if not names:
        raise ConfigError(f"{option} names no backend; expected some of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise BackendError(f"{option}: unknown backend {name!r}; expected some of {', '.join(known)}")
        if name in BACKENDS and importlib.util.find_spec(name) is None:
            extra = "cpu" if name == "onnxruntime" else name
            raise BackendError(f"{option}: the backend {name} is not installed; {install_hint(extra)}")
    return names


def check_precision(names: Iterable[str], precision: str, what: str) -> None:
    """Raise BackendError where one of the backends does not run this precision; `what` names the file or option."""
    for name in names:
        refusal = precision_refusal(name, precision)
        if refusal is not None:
            raise BackendError(f"{what}: {refusal}")


def exported_metadata(file: Path) -> ModelMetadata:
    """What an exported ONNX file says about itself, without a backend. Raises ModelFileError."""
    check_model_file(file)
    return metadata_from(file, onnx_properties(file))


def check_pictures(source: Path | None) -> None:
    """Raise MediaError where there are no pictures at `source`. A data set's own contents are not looked at yet."""
    if source is not None and not (source.is_dir() and recognise(source) is not None):
        list_pictures(source)


def check_proof() -> None:
    """Raise BackendError where ONNX Runtime, which proves every exported file, is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise BackendError(
            f"exported files are proved with ONNX Runtime, which is not installed; {install_hint('cpu')}"
        )


def check_json(target: str | None, inputs: Iterable[str | Path], overwrite: bool) -> None:
    """Raise MediaError where `--json` names a file that cannot or must not be written."""
    if target not in (None, "-"):
        check_destination(str(target), what="the JSON result", suffixes=(".json",), inputs=inputs, overwrite=overwrite)


def check_report(folder: Path | None, names: Iterable[str], inputs: Iterable[str | Path], overwrite: bool) -> None:
    """Raise MediaError where files with these names cannot or must not be written into the folder of `-o`."""
    if folder is not None:
        check_folder(folder, what="the report")
        listed = list(inputs)
        for name in names:
            check_destination(folder / name, what="the report", inputs=listed, overwrite=overwrite)
