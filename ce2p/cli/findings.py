"""What `ce2p doctor` reports in: one finding per subject, and the plain case of a package."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Literal

from ce2p_runtime.base.text import first_line, install_hint
from ce2p_runtime.measuring.machine import versions
from ce2p_runtime.process.telemetry import QUIET_IMPORTS

__all__ = ["Finding", "Status", "import_problem", "package", "shown"]

Status = Literal["ok", "missing", "conflict"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    subject: str
    status: Status
    found: str
    cure: str = ""


def package(subject: str, module: str, extra: str, name: str | None = None) -> Finding:
    """Whether a package is installed and its module can be imported; `name` where it is not the module's."""
    found = versions(name or module)
    if not found:
        return Finding(subject, "missing", "", install_hint(extra))
    problem = import_problem(module)
    if problem:
        return Finding(
            subject,
            "conflict",
            f"{shown(found)}, but importing fails: {problem}",
            f"pip install --force-reinstall {name or module}",
        )
    return Finding(subject, "ok", shown(found))


def shown(found: dict[str, str]) -> str:
    """Packages and versions in words."""
    return ", ".join(f"{name} {number}" for name, number in found.items())


def import_problem(module: str) -> str | None:
    """Why a package that is installed does not import, in one line; None when it does."""
    try:
        QUIET_IMPORTS.get(module, lambda: importlib.import_module(module))()
    except Exception as error:  # a broken binary package can raise anything
        return first_line(error)
    return None
