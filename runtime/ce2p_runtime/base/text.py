"""Words for people: what of a file's texts may reach a terminal, and how a part of ce2p is installed."""

from __future__ import annotations

import unicodedata


def printable(text: str, keep: str = "") -> str:
    r"""`text` with everything escaped that a terminal would obey or hide instead of showing it.

    Those are control characters and escape sequences, line breaks, marks that turn the direction of writing, and what
    is no character at all; `keep` names those that may stay.

        printable("Hat\x1b[2J")  # "Hat\\x1b[2J"
    """
    if text.isprintable():
        return text
    return "".join(character if _shows(character) or character in keep else _escaped(character) for character in text)


def install_hint(extra: str) -> str:
    """The command that installs ce2p with an extra, such as "cpu": ce2p comes out of a clone, not from an index."""
    return f'pip install ".[{extra}]" in your clone of ce2p'


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _shows(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # blanks of all widths


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
