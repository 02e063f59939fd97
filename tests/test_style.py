"""Rules of the house that no linter knows, held over every Python file of the repository."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.test_layering import ROOT

MOST_POSITIONAL = 5
OF_LIBRARIES = {"add_row", "join", "max", "min", "pack", "permute", "print", "reshape", "view", "zip"}
"""Functions and methods of libraries that take any number of things of one kind: no keyword exists for them."""
FIXTURES = {"Make", "Run"}
"""What tests call the type of a fixture that takes any number of words, as those of a command line."""
SOURCES = ("", "export", "runtime")
"""Where the packages that modules import each other from lie."""


def python_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def defined(tree: ast.AST) -> set[str]:
    """The functions of a file that are declared with *args."""
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {function.name for function in functions if function.args.vararg is not None}


def imported(tree: ast.AST) -> Iterator[str]:
    """The functions that a file imports from modules of ours and that are declared with *args there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            places = [ROOT / source / f"{node.module.replace('.', '/')}.py" for source in SOURCES]
            for module in filter(Path.is_file, places):
                there = defined(ast.parse(module.read_text()))
                yield from (alias.asname or alias.name for alias in node.names if alias.name in there)


def fixtures(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Name) and node.annotation.id in FIXTURES:
            yield node.arg


def long_calls(text: str) -> list[str]:
    """Calls with more than five arguments by position, as `line: function`."""
    tree = ast.parse(text)
    any_number = {*OF_LIBRARIES, *defined(tree), *imported(tree), *fixtures(tree)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            positional = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
            name = ast.unparse(node.func).rpartition(".")[2]
            if name == "partial":  # what it calls has one argument less
                positional = positional[1:]
            if len(positional) > MOST_POSITIONAL and name not in any_number:
                found.append(f"{node.lineno}: {ast.unparse(node.func)}")
    return found


def test_no_call_has_more_than_five_arguments_by_position() -> None:
    files = python_files()
    assert len(files) > 300
    found = {str(file.relative_to(ROOT)): calls for file in files if (calls := long_calls(file.read_text()))}
    assert found == {}, "name the arguments (f(a, b, width=c)), or make one dataclass of them"


def test_a_long_call_is_found_and_any_number_of_words_is_not() -> None:
    assert long_calls("f(1, 2, 3, 4, 5, 6)\ng(1, 2, 3, 4, 5, x=6)\nh(*a, 1, 2, 3, 4, 5)") == ["1: f"]
    assert long_calls("partial(f, 1, 2, 3, 4, 5)\npartial(f, 1, 2, 3, 4, 5, 6)") == ["2: partial"]
    assert long_calls("def f(*words): ...\nf(1, 2, 3, 4, 5, 6)\nmax(1, 2, 3, 4, 5, 6)") == []
    assert long_calls("def test(ce2p: Run): ce2p('parse', 1, 2, 3, 4, 5)") == []
    assert long_calls("from tests.data.folders import stripes\nstripes(1, 2, 3, 4, 5, 6)") == []
