"""What a benchmark writes down: each case with its times, and the machine it ran on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ce2p.api.documents import write_text
from ce2p_runtime.measuring.machine import machine, source_commit
from ce2p_runtime.measuring.timing import Timing


@dataclass(frozen=True)
class Record:
    """One benchmarked case: what was run, with which settings, and how long each candidate took."""

    subject: str
    """What was measured, such as "label_map"."""
    settings: dict[str, Any]
    """Sizes, class count, threads: all that is needed to run the case again."""
    timings: dict[str, Timing]
    """Candidate name -> its times."""
    checks: dict[str, Any] = field(default_factory=dict)
    """What was verified before the clock started, with the figures found."""


def machine_and_commit() -> dict[str, Any]:
    """What the figures depend on. `commit` ends in "+changes" where the working tree differs from it."""
    source = source_commit()
    commit = "unknown" if source is None else source["commit"] + ("+changes" if source["dirty"] else "")
    return {**machine(), "commit": commit}


def write_records(path: Path, records: Sequence[Record]) -> None:
    """The machine and every record, as JSON."""
    write_json(path, {"machine": machine_and_commit(), "records": [dataclasses.asdict(record) for record in records]})


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Indented JSON, in a folder that is made where it is missing; all of it or nothing."""
    write_text(path, json.dumps(document, indent=1) + "\n")
