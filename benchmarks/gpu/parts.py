"""What a part of the GPU check is: rows of figures and a verdict, made in a process of its own.

A crash, a hang or a missing package then costs one part, and the others go on. A part saves what it has after every
step, so that even a part that is stopped leaves the rows it had made.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
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

Status = Literal["ran", "skipped", "wrong", "failed"]
Row = dict[str, str | int | float]
_SAID = 40
"""Lines kept of what a part that failed had printed."""


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
    ended: bool = False
    """Whether its work came to an end, good or bad; False in what a crashed or stopped process leaves."""
    file: Path | None = None
    """Where `save` writes; None: nowhere."""

    def save(self) -> None:
        """Write down what there is so far: whatever ends this process later, it is kept."""
        if self.file is not None:
            new = self.file.with_suffix(".new")
            new.write_text(json.dumps(self.as_dict()))
            new.replace(self.file)

    def as_dict(self) -> dict[str, Any]:
        """Plain types, ready for json.dump."""
        fields = dataclasses.asdict(self)
        del fields["file"]
        return fields

    def remark(self, text: str) -> None:
        """Add to the note."""
        self.note = "; ".join(filter(None, (self.note, text)))

    def blame(self, status: Literal["wrong", "failed"], text: str) -> None:
        """Make `status` the verdict, and say why; the first reason stands first."""
        if self.status != "wrong":
            self.status = status
        self.remark(text)


def attempt(name: str, work: Callable[[Part], None], file: Path | None = None) -> Part:
    """Run `work`, which fills the part; whatever it raises becomes the verdict, and rows made before are kept."""
    part = Part(name, file=file)
    started = time.perf_counter()
    try:
        work(part)
    except EXPECTED as error:
        part.status = "skipped"
        part.remark(first_line(error))
    except AssertionError as error:
        part.blame("wrong", first_line(error))
    except Exception as error:  # every library raises its own kinds
        part.blame("failed", f"{type(error).__name__}: {first_line(error)}")
    part.seconds, part.ended = time.perf_counter() - started, True
    part.save()
    return part


def part_main(name: str, work: Callable[[Part, argparse.Namespace], None], **options: Any) -> None:
    """Command line of a part: `--json FILE`, and a flag of the default's type for each of `options`."""
    parser = argparse.ArgumentParser(description=name)
    parser.add_argument("--json", type=Path)
    for option, default in options.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=type(default), default=default)
    arguments = parser.parse_args()
    part = attempt(name, lambda part: work(part, arguments), arguments.json)
    print(markdown([part]), flush=True)
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
    name: str,
    module: str,
    timeout: float,
    arguments: Sequence[str] = (),
    wrapper: Sequence[str] = (),
    launcher: str = "",
) -> Part:
    """Run a part's module in a new process, for at most `timeout` seconds.

    `wrapper`: a command before Python's; `launcher`: a module that runs the part's.
    """
    if timeout < 1:
        return Part(name, "skipped", "no time was left for it")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file, said = Path(folder) / "part.json", Path(folder) / "said"
        modules = [launcher, module] if launcher else [module]
        command = [*wrapper, sys.executable, "-m", *modules, "--json", str(file), *arguments]
        code = _run(command, said, timeout)
        part = Part(**json.loads(file.read_text())) if file.exists() else Part(name)
        part.seconds = time.perf_counter() - started
        printed = said.read_text(errors="replace")
    if code is None:
        part.blame("failed", f"stopped after {timeout:.0f} s" + ("; what it had is below" if part.rows else ""))
    elif not part.ended:
        part.blame("failed", f"ended with {code}: {(printed.strip().splitlines() or ['no output'])[-1]}")
    elif wrapper and code and part.status == "ran":
        part.blame("wrong", _complaint(printed))
    if part.status == "failed":
        part.facts["said"] = printed.splitlines()[-_SAID:]
    return part


def _run(command: Sequence[str], said: Path, timeout: float) -> int | None:
    """The exit status, or None where it was stopped, with everything it had started.

    What it prints goes to a file: a pipe would be held open by whatever it leaves behind.
    """
    with said.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


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


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _shown(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _complaint(output: str) -> str:
    """What compute-sanitizer found: its first line that is an error."""
    lines = [line for line in output.splitlines() if line.startswith("=========")]
    return next((line.strip("= ") for line in lines if "rror" in line or "azard" in line), "the checker complained")
