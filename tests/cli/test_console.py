"""What reaches the terminal: words, never what a file says a terminal should do."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import onnx
import pytest
from rich.console import Console

from ce2p.cli import console
from tests.cli.command import Run

HOSTILE = "Hat\x1b]0;owned\x07\x1b[2J\r\u202e[red]"
SHOWN = r"Hat\x1b]0;owned\x07\x1b[2J\r\u202e[red]"
_COMMANDS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.mark.parametrize(
    ("shown", "lines"),
    [
        (lambda: console.say(HOSTILE), 1),
        (lambda: console.remark(HOSTILE), 1),
        (lambda: console.say("one\nforged"), 1),
        (lambda: console.table(HOSTILE, [HOSTILE], [[HOSTILE], [f"{HOSTILE}\nsecond line"]]), 8),
        (lambda: console.fact_list({HOSTILE: HOSTILE}), 1),
    ],
    ids=["say", "remark", "a forged line", "table", "facts"],
)
def test_texts_are_shown_and_never_obeyed(shown: object, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(shown)
    shown()
    printed = "".join(capsys.readouterr())
    assert not _COMMANDS.search(printed)
    assert len(printed.splitlines()) == lines
    assert "forged" in printed or SHOWN in printed


def test_progress_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=200, color_system=None, highlight=False)
    monkeypatch.setattr(console, "_remarks", terminal)
    with console.progress_bar(HOSTILE) as progress:
        progress.add_task(HOSTILE, total=2, note=HOSTILE)
    assert screen.getvalue().count(SHOWN) >= 3
    assert "\x1b]0;" not in screen.getvalue()


def test_a_models_class_names_never_reach_the_terminal_raw(ce2p: Run, tiny_model: Path, tmp_path: Path) -> None:
    """Whether the file is refused or shown, on both streams."""
    model = onnx.load(str(tiny_model))
    entry = next(item for item in model.metadata_props if item.key == "ce2p")
    fields = json.loads(entry.value)
    fields["class_names"][1] = fields["family"] = fields["weights"] = HOSTILE
    entry.value = json.dumps(fields)
    onnx.save(model, str(tmp_path / "hostile.onnx"))
    for arguments in (("inspect", "hostile.onnx"), ("verify", "hostile.onnx", "hostile.onnx", "--limit", 1)):
        ending = ce2p(*arguments)
        assert ending.err or ending.out
        assert not _COMMANDS.search(ending.out + ending.err), arguments
