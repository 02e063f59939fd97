"""What `ce2p doctor` reports in: one finding for each subject, and how packages and backends are examined."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Literal

from ce2p_runtime.backends.registry import BackendEntry
from ce2p_runtime.base.text import first_line, install_hint
from ce2p_runtime.errors import BackendError
from ce2p_runtime.measuring.machine import versions
from ce2p_runtime.process.telemetry import QUIET_IMPORTS

Status = Literal["ok", "missing", "conflict"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    subject: str
    status: Status
    found: str
    cure: str = ""


def package(
    subject: str, module: str, install: str, *, found: dict[str, str] | None = None, broken: Status = "conflict"
) -> Finding:
    """Whether a package is installed and its module can be imported.

    `install`: the cure where it is missing. `found`: package and version, where the package has another name than the
    module. `broken`: the status of one that cannot be imported.
    """
    found = versions(module) if found is None else found
    if not found:
        return Finding(subject, "missing", "", install)
    problem = import_problem(module)
    if problem:
        cure = f"pip install --force-reinstall --no-cache-dir {next(iter(found))}"
        return Finding(subject, broken, f"{shown(found)}, but importing fails: {problem}", cure)
    return Finding(subject, "ok", shown(found))


def backend(entry: BackendEntry, broken: Status = "conflict") -> Finding:
    """Whether a backend's library is installed, can be imported, is new enough, and has what else it needs."""
    subject, found = f"backend {entry.name}", entry.versions
    install = install_hint(entry.extra) + (f", or with {entry.gpu_extra}" if entry.gpu_extra else "")
    if "cpu" not in entry.devices:
        install = f"only needed for {entry.title} on NVIDIA GPUs: {install}"
    if entry.gpu_extra and len(found) > 1:
        cure = f"pip uninstall -y {' '.join(found)}, then {install}"
        return Finding(subject, "conflict", f"{shown(found)}: they overwrite each other's files", cure)
    finding = package(subject, entry.module, install, found=found, broken=broken)
    if finding.status != "ok":
        matching = ", of the driver's CUDA version" if found and "cpu" not in entry.devices else ""
        return replace(finding, cure=finding.cure + matching)
    name, number = next(iter(found.items()))
    if tuple(int(part) for part in number.split(".")[: len(entry.oldest)]) < entry.oldest:
        oldest = ".".join(map(str, entry.oldest))
        return Finding(subject, broken, f"{shown(found)}, older than {oldest}", f"pip install --upgrade {name}")
    try:
        details = entry.details()
    except BackendError as error:
        lacking, _, cure = str(error).partition("; ")
        return Finding(subject, "conflict", f"{shown(found)}, {lacking}", cure)
    return Finding(subject, "ok", "; ".join(filter(None, (shown(found), details))))


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
