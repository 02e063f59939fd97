"""The id lists of the data sets: one id per line, as people and their programs really write them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ..errors import DataError

_MOST_BYTES = 64 * 2**20
"""Of an id list; that of a million pictures has about 20 MB."""
_SUFFIX = re.compile(r"\.(jpg|jpeg|png)$", re.IGNORECASE)


def read_id_list(path: Path, images: str) -> list[str]:
    """The ids of a list, in its order, at least one.

    Blank lines, a byte order mark, Windows line ends, a picture suffix, further columns (after a blank or a comma) and
    the name of the picture folder in front (`images/0001.jpg`, as in CE2P v1's lists) are put up with. Raises DataError
    for a file that is missing, is no text or lists nothing, and for an id with another folder in it.
    """
    text = read_lines(path, "one id per line", _MOST_BYTES)
    ids = [_id(line, number, path, images) for number, line in enumerate(text, 1) if line.strip()]
    if not ids:
        raise DataError(f"{path}: lists no id, expected one per line; fill it, or remove it if there is no such split")
    return ids


def read_lines(path: Path, expected: str, most_bytes: int) -> list[str]:
    """The lines of a UTF-8 file, a byte order mark put up with. Raises DataError, which says what is `expected`."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text, expected {expected}; save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected {expected}") from error
    if len(data) > most_bytes:
        raise DataError(f"{path}: has more than {most_bytes:,} bytes, expected {expected}; make it smaller")
    return text.splitlines()


def repeated(ids: Iterable[str]) -> list[str]:
    """The ids that occur more than once, in order of their first occurrence."""
    return [name for name, count in Counter(ids).items() if count > 1]


def _id(line: str, number: int, path: Path, images: str) -> str:
    first = re.split(r"[\s,]+", line.strip())[0]
    name = _SUFFIX.sub("", first.lstrip("/").removeprefix(f"{images}/"))
    if not name or "/" in name or "\\" in name:
        raise DataError(f"{path}: line {number} holds {first!r}, expected the name of a picture in {images}/")
    return name
