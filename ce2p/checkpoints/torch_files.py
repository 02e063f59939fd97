"""Files that `torch.save` wrote, read with limits and without ever running what is inside them.

A zip archive's directory says how large each record is before any of it is read. `torch.save` stores records as they
are, so together they cannot be larger than the file, and each one's checksum is right; torch itself looks at neither.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError

MOST_BYTES = 2**31
"""Of a checkpoint or snapshot. The largest networks here have 0.3 GB; with an optimiser's state and two averages of the
weights they stay below 1.4 GB."""

_MOST_RECORDS = 20_000
_MOST_DIRECTORY = 4 * 2**20
"""Bytes of an archive's directory: about 100 for each record."""
_MOST_PICKLE = 16 * 2**20
"""Bytes of the pickle that names the tensors: some 100 kB for the largest networks."""


def read_torch_file(path: Path, cure: str) -> Any:
    """What `torch.save` stored in a regular file, on the CPU: tensors, numbers, texts, lists and dicts of them.

    `cure` ends the messages about damage. Raises CheckpointError: truncated or damaged, larger than `MOST_BYTES`, or a
    pickle that asks for code, which is not run.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise CheckpointError(
            f"{path}: has {size:,} bytes, expected at most {MOST_BYTES:,}; no network of the family is that large"
        )
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if is_archive:
        _check_archive(path, size, cure)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch makes of damage; the error below says it all
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_explain_unpickling(path, str(error), cure)) from None
    except Exception as error:  # torch raises whatever the bytes made of it, where they stop making sense
        raise CheckpointError(_explain(path, error, cure)) from None


def _check_archive(path: Path, size: int, cure: str) -> None:
    """Raise CheckpointError unless the records of a zip archive are whole and as large as they can be."""
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path}: truncated, {size:,} bytes of a zip archive whose end is missing; {cure}")
    if (directory := _directory_size(path, size)) > _MOST_DIRECTORY:
        raise CheckpointError(
            f"{path}: not a readable checkpoint, its archive's directory has {directory:,} bytes, expected at most "
            f"{_MOST_DIRECTORY:,}; {cure}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            is_program = any(record.filename.endswith("/constants.pkl") for record in records)
            fault = _record_fault(records, size) if not is_program else None
            if fault is None and not is_program and (damaged := archive.testzip()) is not None:
                fault = f"the checksum of its record {_shown(damaged)} is wrong"
    except Exception as error:  # zipfile lets through whatever the damaged part made of it
        is_program, fault = False, reason_of(error)
    if is_program:
        raise CheckpointError(f"{path}: a TorchScript program, not weights; expected a state_dict")
    if fault is not None:
        raise CheckpointError(f"{path}: not a readable checkpoint, truncated or damaged ({fault}); {cure}")


def _directory_size(path: Path, size: int) -> int:
    """Bytes of a zip archive's directory, as its end says; opening the archive makes twenty times as much of them."""
    with path.open("rb") as file:
        file.seek(max(0, size - 2**16 - 98))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if tail[at - 20 : at - 16] == b"PK\x06\x07" and tail[at - 76 : at - 72] == b"PK\x06\x06":  # zip64's own end
        return int.from_bytes(tail[at - 36 : at - 28], "little")
    return int.from_bytes(tail[at + 12 : at + 16], "little")


def _record_fault(records: list[zipfile.ZipInfo], size: int) -> str | None:
    """What shows, before any record is read, that `torch.save` did not write this archive of `size` bytes."""
    if len(records) > _MOST_RECORDS:
        return f"{len(records):,} records, expected at most {_MOST_RECORDS:,}"
    if len({record.filename for record in records}) < len(records):
        return "two records of one name"
    for record in records:
        if record.compress_type != zipfile.ZIP_STORED:
            return f"its record {_shown(record.filename)} is compressed, which torch.save never does"
        if record.filename.endswith(".pkl") and record.file_size > _MOST_PICKLE:
            return f"its record {_shown(record.filename)} has {record.file_size:,} bytes"
    total = sum(record.file_size for record in records)
    return f"its records say that they have {total:,} bytes, the file has {size:,}" if total > size else None


def _explain(path: Path, error: Exception, cure: str) -> str:
    if ".tar format" in str(error):
        return (
            f"{path}: a tar file as torch wrote them before 0.1.10, which cannot be read without running its code; "
            "expected a state_dict: save it again with a newer torch where you trust it"
        )
    return f"{path}: not a readable checkpoint, truncated or damaged ({reason_of(error)}); {cure}"


def _explain_unpickling(path: Path, text: str, cure: str) -> str:
    wanted = re.search(r"(?:GLOBAL|Unsupported (?:global|class|operand)[^\w]*) ?([\w.]+\.[\w]+)", text)
    if wanted:
        return (
            f"{path}: refused, its pickle asks to run {wanted.group(1):.100}, which is code and not weights; "
            "if you trust the source, save its state_dict as .safetensors where it was made"
        )
    # torch's own text goes no further: it recommends to switch the protection off.
    return f"{path}: not a checkpoint or damaged, torch.save did not write these bytes; {cure}"


def reason_of(error: Exception) -> str:
    """A library's error in one line, without control characters and without advice to switch the protection off."""
    line = (str(error).splitlines() or [""])[0][:200]
    if not line or "weights_only" in str(error):
        return type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _shown(name: str) -> str:
    return repr(name[:80])
