"""Members of a JSON object, taken one by one with the type and the range that each must have.

    fields = Fields({"size": [473, 473], "scale": 0.5, "later": 1})
    fields.integers("size", 1, 8192, count=2)   # [473, 473]
    fields.number("scale", 0.0, 1.0)            # 0.5
    fields.rest()                               # {"later": 1}: what was not taken

Every fault is a ValueError of one line that names the member, what was found and what was expected. `default` stands
for a member that is missing; without one it must be there. The document itself comes from `bounded_json.read_json`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T", bound=str)
Missing: Any = object()

_LONGEST_TEXT = 500
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Control characters (a terminal obeys them), halves of characters, line and paragraph separators."""
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They make a text look like another one."""


class Fields:
    """See above. `where` goes before each name in messages: "geometry."."""

    def __init__(self, document: Any, where: str = "") -> None:
        self._where = where
        if not isinstance(document, dict):
            raise ValueError(f"{where.rstrip('.') or 'it'} is {_short(document)}, expected names with values")
        self._left = dict(document)

    def rest(self) -> dict[str, Any]:
        """What was not taken."""
        return self._left

    def members(self, name: str, default: Any = Missing) -> dict[str, Any]:
        """An object, its members as they are."""
        return self._take(name, "names with values", lambda value: isinstance(value, dict), default)

    def fields(self, name: str) -> Fields:
        """An object, for its members to be taken."""
        return Fields(self.members(name), f"{self._where}{name}.")

    def items(self, name: str, most: int, default: Any = Missing) -> list[Any]:
        """A list of at most `most` items, as they are."""
        return self._take(
            name, f"a list of at most {most}", lambda value: isinstance(value, list) and len(value) <= most, default
        )

    def flag(self, name: str, default: Any = Missing) -> bool:
        return self._take(name, "true or false", lambda value: isinstance(value, bool), default)

    def text(self, name: str, default: Any = Missing) -> str:
        """Of characters that can be shown."""
        expected = "a printable text"
        return self._take(name, expected, lambda value: is_text(value) or value == default, default)

    def texts(self, name: str, most: int, default: Any = Missing) -> list[str]:
        """A list of them."""
        found = self.items(name, most, default)
        for index, value in enumerate(found):
            self._check(f"{name}[{index}]", value, "a printable text", is_text(value))
        return found

    def choice(self, name: str, options: Sequence[T], default: Any = Missing) -> T:
        value = self._take(name, f"one of {', '.join(options)}", lambda value: isinstance(value, str), default)
        if value not in options:
            raise ValueError(f"{self._where}{name} is {_short(value)}, expected {' or '.join(options)}")
        return options[options.index(value)]

    def integer(self, name: str, low: int, high: int) -> int:
        return self._take(name, f"a whole number of {low} to {high}", lambda value: _is_integer(value, low, high))

    def integers(self, name: str, low: int, high: int, *, count: int) -> list[int]:
        """A list of exactly `count`."""

        def fits(value: Any) -> bool:
            return isinstance(value, list) and len(value) == count and all(_is_integer(x, low, high) for x in value)

        return self._take(name, f"{count} whole numbers of {low} to {high}", fits)

    def rows(self, name: str, low: int, high: int, *, count: int, most: int) -> list[list[int]]:
        """A list of at most `most` lists of exactly `count`."""
        found = self.items(name, most)
        return [
            Fields({"": value}, f"{self._where}{name}[{index}]").integers("", low, high, count=count)
            for index, value in enumerate(found)
        ]

    def number(self, name: str, low: float, high: float) -> float:
        return float(self._take(name, f"a number of {low:g} to {high:g}", lambda value: _is_number(value, low, high)))

    def numbers(self, name: str, low: float, high: float, *, count: int) -> list[float]:
        """A list of exactly `count`."""

        def fits(value: Any) -> bool:
            return isinstance(value, list) and len(value) == count and all(_is_number(x, low, high) for x in value)

        return [float(value) for value in self._take(name, f"{count} numbers of {low:g} to {high:g}", fits)]

    def _take(self, name: str, expected: str, fits: Callable[[Any], bool], default: Any = Missing) -> Any:
        if name not in self._left:
            if default is Missing:
                raise ValueError(f"{self._where}{name} is missing, expected {expected}")
            return default
        value = self._left.pop(name)
        self._check(name, value, expected, fits(value))
        return value

    def _check(self, name: str, value: Any, expected: str, fits: bool) -> None:
        if not fits:
            raise ValueError(f"{self._where}{name} is {_short(value)}, expected {expected}")


def is_text(value: Any, most: int = _LONGEST_TEXT) -> bool:
    """Whether a value is a text of 1 to `most` characters that people can be shown: nothing that a terminal obeys."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= most
        and not any(unicodedata.category(letter) in _UNPRINTABLE or letter in _REORDERING for letter in value)
    )


def _is_integer(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _short(value: Any) -> str:
    """A value in a message: ASCII without control characters, cut."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
