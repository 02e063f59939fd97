"""Every command line, option and make target in the documentation is one that there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from ce2p.cli.app import app
from ce2p.cli.arguments import normalised
from tests.docs.documents import DOCUMENTS, ROOT, code_blocks, commands, inline_code, name_of

FOREIGN = {"--fmad", "--fuzz-seed", "--fuzz-count", "--nproc-per-node", "--opt_in"}
"""Options of other programs that are spoken of: nvcc, our tests, torchrun, OpenVINO."""


def parse(words: list[str]) -> None:
    """Give a command line to the real parser, and run nothing. Raises what it raises for wrong arguments."""
    group: Any = typer.main.get_command(app)
    rest, parent = normalised(words), None
    while hasattr(group, "resolve_command"):
        parent = group.make_context("ce2p", [], parent=parent, resilient_parsing=True)
        name, group, rest = group.resolve_command(parent, rest)
    group.make_context(name, rest, parent=parent)


def options_of(command: Any) -> set[str]:
    """Every option of a command and of those below it."""
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*(options_of(sub) for sub in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if [*commands(document)]], ids=name_of)
def test_command_lines_parse(document: Path) -> None:
    for words in commands(document):
        if not words[-1].startswith(("--help", "--version")):  # these print and end
            parse(words)


def test_a_wrong_command_line_does_not_parse() -> None:
    for words in (["export", "net.pth", "--precison", "int8"], ["people", "a.jpg", "--part-score", "person"]):
        with pytest.raises(Exception, match=r"(?i)no such option|is not one of"):
            parse(words)


def test_there_is_something_to_try() -> None:
    assert sum(len([*commands(document)]) for document in DOCUMENTS) > 80


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_options_named_in_the_text_exist(document: Path) -> None:
    known = options_of(typer.main.get_command(app)) | FOREIGN | {"--help"} | _options_of_benchmarks()
    named = {option for span in inline_code(document) for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
    assert not named - known


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join([*inline_code(document), *code_blocks(document, "sh")])
    assert not set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)) - targets


def _options_of_benchmarks() -> set[str]:
    """Options of the scripts in benchmarks, which the documentation also speaks of."""
    texts = "".join(path.read_text() for path in (ROOT / "benchmarks").glob("*.py"))
    return set(re.findall(r"add_argument\(\s*\"(--[\w-]+)\"", texts))
