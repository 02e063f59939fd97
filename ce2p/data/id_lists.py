"""The id lists of the data sets: one id per line, as people and their programs really write them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ..errors import DataError

__all__ = ["read_id_list", "repeated"]

_MOST_BYTES = 64 * 2**20
"""Of an id list; that of a million pictures has about 20 MB."""
_SUFFIX = re.compile(r"\.(jpg|jpeg|png)$", re.IGNORECASE)


def read_id_list(path: Path, images: str) -> list[str]:
    """The ids of a list, in its order, at least one.

    Blank lines, a byte order mark, Windows line ends, a picture suffix, further columns (after a blank or a comma) and
    the name of the picture folder in front (`images/0001.jpg`, as in CE2P v1's lists) are put up with. Raises DataError
    for a file that is missing, is no text or lists nothing, and for an id with another folder in it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text, expected one id per line; save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected one id per line") from error
    if len(data) > _MOST_BYTES:
        raise DataError(f"{path}: has more than {_MOST_BYTES >> 20} MiB, expected one id per line; split the data set")
    ids = [_id(line, number, path, images) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not ids:
        raise DataError(f"{path}: lists no id, expected one per line; fill it, or remove it if there is no such split")
    return ids


def repeated(ids: Iterable[str]) -> list[str]:
    """The ids that occur more than once, in order of their first occurrence."""
    return [name for name, count in Counter(ids).items() if count > 1]


def _id(line: str, number: int, path: Path, images: str) -> str:
    first = re.split(r"[\s,]+", line.strip())[0]
    name = _SUFFIX.sub("", first.lstrip("/").removeprefix(f"{images}/"))
    if not name or "/" in name or "\\" in name:
        raise DataError(f"{path}: line {number} holds {first!r}, expected the name of a picture in {images}/")
    return name
