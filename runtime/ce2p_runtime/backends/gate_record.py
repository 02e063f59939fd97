"""On which backends a file passed the gate, and what follows for the choice of one.

A file whose accuracy depends on who computes it carries a record of its gate in its metadata, `extra["gate"]`, with the
names of the backends that passed under "passed_on". Files without a record serve on every backend.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ..base.text import install_hint
from ..errors import BackendError, ModelFileError
from ..model_files.metadata import ModelMetadata
from .registry import BACKENDS, DEVICE_BACKENDS

__all__ = ["gate_passed_on", "passed_among", "warn_unless_passed"]

logger = logging.getLogger(__name__)


def gate_passed_on(metadata: ModelMetadata, path: Path) -> tuple[str, ...] | None:
    """Names of the backends that a file passed its gate on; None where it has no record. Raises ModelFileError."""
    if "gate" not in metadata.extra:
        return None
    record = metadata.extra["gate"]
    names = record.get("passed_on") if isinstance(record, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelFileError(
            f"{path}: the record of its gate is {record!r:.80}, expected a list of backends under 'passed_on'; "
            "export it again"
        )
    return tuple(names)


def passed_among(installed: Sequence[str], metadata: ModelMetadata, path: Path) -> list[str]:
    """Those of the installed backends that may serve the file unasked. Raises BackendError where there is none."""
    passed = gate_passed_on(metadata, path)
    if passed is None:
        return list(installed)
    names = [name for name in installed if name in passed]
    if not names:
        known = [entry for name, entry in (*BACKENDS.items(), *DEVICE_BACKENDS.items()) if name in passed]
        cure = " or ".join(install_hint(entry.extra) for entry in known) or "export it again"
        raise BackendError(
            f"{path}: its gate was passed on {_listed(passed)}, installed for it is {_listed(installed)}; {cure}, "
            "or name a backend and check it with `ce2p verify`"
        )
    return names


def warn_unless_passed(metadata: ModelMetadata, name: str, path: Path) -> None:
    """Say so where a backend that was asked for by name is not one the file passed its gate on."""
    passed = gate_passed_on(metadata, path)
    if passed is not None and name not in passed:
        logger.warning(
            "%s: this file's gate was passed on %s, not on %s: check with `ce2p verify`", path, _listed(passed), name
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "no backend"
