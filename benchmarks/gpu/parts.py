"""What a part of the GPU check is: rows of figures and a verdict, made in a process of its own.

A crash, a hang or a missing package then costs one part, and the others go on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ce2p_runtime.errors import BackendError

__all__ = ["EXPECTED", "EXPORTS", "Part", "SkippedError", "markdown", "part_main", "run_part", "working_folder"]

EXPORTS = "Exports"
"""Name of the part that makes files and measures nothing."""
Status = Literal["ran", "skipped", "wrong", "failed"]
Row = dict[str, str | int | float]


class SkippedError(Exception):
    """Something this part needs is not on this machine; the message says what."""


EXPECTED = (ImportError, BackendError, SkippedError)
"""What says that something is not on this machine. Anything else is a fault."""


@dataclass
class Part:
    """One part and how it ended."""

    name: str
    status: Status = "ran"
    """ran, skipped (something is not there), wrong (a result differs), or failed (it broke or took too long)."""
    note: str = ""
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """Settings and samples, for the JSON only."""
    seconds: float = 0.0


def attempt(name: str, work: Callable[[Part], None]) -> Part:
    """Run `work`, which fills the part; whatever it raises becomes the verdict, and rows made before are kept."""
    part = Part(name)
    started = time.perf_counter()
    try:
        work(part)
    except EXPECTED as error:
        part.status, part.note = "skipped", f"{_first_line(error)}"
    except AssertionError as error:
        part.status, part.note = "wrong", _first_line(error)
    except Exception as error:  # every library raises its own kinds
        part.status, part.note = "failed", f"{type(error).__name__}: {_first_line(error)}"
    part.seconds = time.perf_counter() - started
    return part


def part_main(name: str, work: Callable[[Part, argparse.Namespace], None], **options: Any) -> None:
    """Command line of a part: `--json FILE`, and a flag of the default's type for each of `options`."""
    parser = argparse.ArgumentParser(description=name)
    parser.add_argument("--json", type=Path)
    for option, default in options.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=type(default), default=default)
    arguments = parser.parse_args()
    part = attempt(name, lambda part: work(part, arguments))
    print(markdown([part]))
    if arguments.json:
        arguments.json.write_text(json.dumps(dataclasses.asdict(part)))
    sys.exit(part.status in {"wrong", "failed"})


@contextmanager
def working_folder(path: str) -> Iterator[Path]:
    """The folder `path`, made and kept; for "" one that is thrown away."""
    if path:
        Path(path).mkdir(parents=True, exist_ok=True)
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def run_part(
    name: str, module: str, timeout: float, arguments: Sequence[str] = (), wrapper: Sequence[str] = ()
) -> Part:
    """Run a part's module in a new process, for at most `timeout` seconds. `wrapper`: a command before Python's."""
    if timeout < 1:
        return Part(name, "skipped", "no time was left for it")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.json"
        command = [*wrapper, sys.executable, "-m", module, "--json", str(file), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return Part(name, "failed", f"stopped after {timeout:.0f} s", seconds=timeout)
        seconds = time.perf_counter() - started
        if not file.exists():
            last = ((done.stderr or done.stdout).strip().splitlines() or ["no output"])[-1]
            return Part(name, "failed", f"ended with {done.returncode}: {last}", seconds=seconds)
        part = Part(**json.loads(file.read_text()))
        part.seconds = seconds
        if wrapper and done.returncode and part.status == "ran":
            part.status, part.note = "wrong", _complaint(done.stdout + done.stderr)
        return part


def markdown(parts: Sequence[Part]) -> str:
    """A heading, the verdict and a table for each part."""
    lines: list[str] = []
    for part in parts:
        note = f": {part.note}" if part.note else ""
        lines += [f"## {part.name}", "", f"{part.status}{note} ({part.seconds:.0f} s)", ""]
        if part.rows:
            columns = list(dict.fromkeys(key for row in part.rows for key in row))
            lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
            lines += ["| " + " | ".join(_shown(row.get(key, "")) for key in columns) + " |" for row in part.rows]
            lines.append("")
    return "\n".join(lines)


def _shown(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _complaint(output: str) -> str:
    """What compute-sanitizer found: its first line that is an error."""
    lines = [line for line in output.splitlines() if line.startswith("=========")]
    return next((line.strip("= ") for line in lines if "rror" in line or "azard" in line), "the checker complained")
