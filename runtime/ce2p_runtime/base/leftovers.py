"""Names of temporary files that tell whose they are, so that what a killed process left can be found and removed.

A process that is killed cannot clean up. Its temporary files are named

    .<start of the final name's stem>.<process>-<its start>-<system>-<random><suffix>

so a later run that writes to the same name can tell them from those of a process that still works. Only Linux says when
a process started and which container its number counts in; elsewhere nothing is ever removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

_MOST_BYTES = 120
"""Of the stem. Names are limited in bytes (255), and a letter may take four."""
_OWNER = r"([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]{8})-[0-9a-f]{8}"


def temporary_name(name: str) -> str:
    """A new hidden name for a file that is to be called `name`, with the same suffix."""
    path = Path(name)
    return f".{_beginning(path)}.{_process(os.getpid())}-{secrets.token_hex(4)}{path.suffix}"


def remove_leftovers(targets: Iterable[str | Path]) -> int:
    """Remove temporary files that dead processes left on the way to `targets`; how many there were.

    Files of living processes, of other machines and containers, and of other targets stay. Files that cannot be removed
    stay as well: they are in nobody's way.
    """
    names: dict[Path, set[tuple[str, str]]] = defaultdict(set)
    for target in map(Path, targets):
        names[target.parent].add((_beginning(target), target.suffix))
    removed = 0
    for folder, wanted in names.items():
        try:
            leftovers = [entry for entry in folder.iterdir() if _is_leftover(entry.name, wanted)]
        except OSError:  # no folder yet, so no leftovers
            continue
        for leftover in leftovers:
            with suppress(OSError):
                if leftover.is_dir():  # masks come as a folder
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
                removed += 1
    return removed


def _is_leftover(entry: str, wanted: set[tuple[str, str]]) -> bool:
    found = re.fullmatch(rf"\.(.*)\.{_OWNER}(\.[^.]*)?", entry, re.DOTALL)
    if found is None or (found[1], found[5] or "") not in wanted or found[4] != _system():
        return False
    start = _start_of(int(found[2], 16))
    return _start_of(os.getpid()) is not None and start != int(found[3], 16)


def _beginning(path: Path) -> str:
    """The stem, cut to `_MOST_BYTES` between two letters."""
    return os.fsencode(path.stem)[:_MOST_BYTES].decode("utf-8", "ignore")


def _start_of(process: int) -> int | None:
    """When a process started, in clock ticks since the system did; None when it is gone or nobody tells."""
    try:
        # The second field is the program's name in brackets, which may hold blanks and brackets itself.
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


@cache
def _process(own: int) -> str:
    """This process. Looked up once, which costs as much as writing a small picture; a forked child looks anew."""
    return f"{own:x}-{_start_of(own) or 0:x}-{_system()}"


@cache
def _system() -> str:
    """Which running system (and, in a container, which numbering of processes) this is, as eight letters."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts += [Path("/proc/sys/kernel/random/boot_id").read_text("ascii"), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
