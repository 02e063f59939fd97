"""What can be known of a command's options before the work starts: unknown backends, files that must not be written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ce2p.errors import ConfigError
from ce2p_runtime import BackendError
from ce2p_runtime.backends import BACKENDS
from ce2p_runtime.backends.registry import backend_choices
from ce2p_runtime.base.destinations import check_destination, check_folder
from ce2p_runtime.base.text import install_hint


def backend_names(text: str | None, option: str, *, for_exports: bool = False) -> tuple[str, ...]:
    """`onnxruntime, openvino` -> their names, each once; None -> (). `for_exports`: those that judge exported files.

    Raises BackendError for a name that is unknown or not installed, ConfigError for none.
    """
    if text is None:
        return ()
    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    known = tuple(BACKENDS) if for_exports else backend_choices()
    if not names:
        raise ConfigError(f"{option} names no backend; expected some of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise BackendError(f"{option}: unknown backend {name!r}; expected some of {', '.join(known)}")
        if name in BACKENDS and not BACKENDS[name].installed:
            cure = install_hint(BACKENDS[name].extra)
            raise BackendError(f"{option}: the backend {name} is not installed; {cure}")
    return names


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
