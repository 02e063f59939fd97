"""JSON from files that anybody may have written: read with limits, and every fault is a ValueError of one line."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

_LARGEST = 2**64
"""No count, size or identifier of ours is larger, and Python's own numbers would grow without end."""
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
"""Strings as a whole, so that brackets within them do not count."""


def read_json(text: str | bytes, *, what: str, depth: int = 64) -> Any:
    """The document in `text`. `what` names it in messages: "a.json", "the file's metadata".

    Raises ValueError for text that is no UTF-8 or no JSON, nested deeper than `depth`, with a number that is not finite
    or beyond 64 bits, or with half a character (a lone surrogate). How long the text may be is for the caller to say.

        read_json('{"threads": 2}', what="the settings")  # {'threads': 2}
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        _check_depth(text, depth)
        document = json.loads(text, parse_int=_int, parse_float=_float, parse_constant=_constant)
        if "\\u" in text:  # a character written as two halves may lack one
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError:  # `depth` is beyond what Python itself reads
        raise ValueError(f"{what}: is nested too deep, expected at most {depth} levels") from None
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"{what}: holds text that is no UTF-8 ({error.reason})") from None
    except ValueError as error:
        raise ValueError(f"{what}: is no JSON that can be read ({error})") from None
    return document


def _check_depth(text: str, depth: int) -> None:
    level = 0
    for match in _BRACKETS.finditer(text):
        found = match[0]
        if found in "[{":
            level += 1
            if level > depth:
                raise ValueError(f"nested too deep: more than {depth} levels")
        elif found in "]}":
            level -= 1


def _int(digits: str) -> int:
    # The length first: turning a million digits into a number takes minutes.
    if len(digits) > 21 or abs(int(digits)) > _LARGEST:
        raise ValueError(f"the number {digits:.20}... of {len(digits)} digits is beyond 64 bits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits:.20} is too large")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")
