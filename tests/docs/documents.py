"""README, guides and the other texts for people, taken apart into what can be tried."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

__all__ = ["DOCUMENTS", "ROOT", "code_blocks", "commands", "inline_code", "name_of", "prose"]

ROOT = Path(__file__).parent.parent.parent
_GENERATED = ROOT / "docs/reference/commands.md"
"""Written by `make docs` out of the command line itself."""
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")),
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path != _GENERATED),
]

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_NEEDS_GPU = "<!-- wants a GPU -->"
"""Before a block that cannot be tried everywhere."""


def name_of(document: Path) -> str:
    """Its path in the repository, for a test's id."""
    return document.relative_to(ROOT).as_posix()


def code_blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of a language, but for those that are said to want a GPU."""
    text = document.read_text()
    return [
        match["code"]
        for match in _BLOCK.finditer(text)
        if match["language"] == language and not text[: match.start()].rstrip().endswith(_NEEDS_GPU)
    ]


def prose(document: Path) -> str:
    """The text without its fenced blocks."""
    return _BLOCK.sub("", document.read_text())


def inline_code(document: Path) -> list[str]:
    """What stands between back quotes in the prose."""
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(document))]


def commands(document: Path) -> Iterator[list[str]]:
    """The arguments of every `ce2p` command in the shell blocks, as a shell would split them."""
    for block in code_blocks(document, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["ce2p"]:
                yield words[1:]
