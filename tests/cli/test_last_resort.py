"""However a command ends: one line at most, a status that means something, nothing that a terminal would obey."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import pytest

from ce2p.cli import app as commands
from ce2p.errors import CE2PError
from ce2p_runtime.base.text import install_hint, printable
from ce2p_runtime.errors import MediaError
from ce2p_runtime.process.interrupts import Terminated, uninterrupted
from tests.cli.command import Run, error_line


def deep(levels: int = 10**9) -> int:
    return 1 + deep(levels - 1)


def opencv() -> None:
    cv2.resize(cv2.UMat(), (0, 0))


def memory() -> None:
    bytearray(2**62)


def ending(monkeypatch: pytest.MonkeyPatch, work: object) -> None:
    """Let the command line do `work`: an exception to raise, or a function to call."""

    def run(**_: object) -> None:
        if isinstance(work, BaseException):
            raise work
        assert callable(work)
        work()

    monkeypatch.setattr(commands, "app", run)


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (deep, "RecursionError"),
        (memory, "MemoryError"),
        (opencv, "error"),
        (lambda: zlib.decompress(b"no"), "error"),
        (lambda: {}["x"], "KeyError"),
        (OSError("without a number"), "OSError"),
        (ModuleNotFoundError("No module named 'nobody'", name="nobody"), "ModuleNotFoundError"),
    ],
)
def test_whatever_is_raised_ends_in_one_line_that_names_it(
    work: object, name: str, ce2p: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending(monkeypatch, work)
    end = ce2p("doctor")
    assert end.status == 1
    assert name in error_line(end)
    assert "CE2P_TRACEBACK=1" in error_line(end)
    assert "Traceback" not in end.err


def test_the_traceback_is_shown_on_request(ce2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, deep)
    monkeypatch.setenv("CE2P_TRACEBACK", "1")
    end = ce2p("doctor")
    assert end.status == 1
    assert "Traceback" in end.err
    assert end.err.splitlines()[-1].startswith("error: unexpected RecursionError")


@pytest.mark.parametrize("value", ["", "0"])
def test_the_traceback_can_be_switched_off(value: str, ce2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, deep)
    monkeypatch.setenv("CE2P_TRACEBACK", value)
    assert "Traceback" not in ce2p("doctor").err


@pytest.mark.parametrize(
    ("work", "status", "said"),
    [
        (SystemExit(), 0, ""),
        (SystemExit(2), 2, ""),
        (SystemExit("last words"), 1, "error: last words\n"),
        (CE2PError("one thing"), 1, "error: one thing\n"),
        (MediaError("a\nb"), 1, "error: a b\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x.png"), 1, "error: x.png: No space left on device\n"),
        (KeyboardInterrupt(), 130, ""),
        (Terminated(143), 143, ""),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
    ],
)
def test_every_ending_has_its_status(
    work: BaseException, status: int, said: str, ce2p: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending(monkeypatch, work)
    end = ce2p("doctor")
    assert (end.status, end.err) == (status, said)


def test_a_missing_package_is_named_with_what_brings_it(ce2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert error_line(ce2p("doctor")) == f"error: this command needs the package torch; {install_hint('export')}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("made", ["KeyboardInterrupt", "RuntimeError", "an error of ours", "nothing"])
def test_the_status_of_a_signal_survives_what_libraries_make_of_it(
    made: str, number: signal.Signals, ce2p: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        try:
            signal.raise_signal(number)
        except BaseException as interrupt:
            if made == "RuntimeError":
                raise RuntimeError("worker exited unexpectedly") from interrupt
            if made == "an error of ours":
                raise CE2PError("ONNX Runtime is not installed") from None
            if made != "nothing":
                raise

    ending(monkeypatch, work)
    end = ce2p("doctor")
    assert (end.status, end.err) == (128 + number, "")


def test_what_went_wrong_while_the_end_was_written_is_said(ce2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        raise MediaError("walk_overlay.mp4: no space left for the end")

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            uninterrupted(end, lambda: None, interrupted=True)

    ending(monkeypatch, work)
    ended = ce2p("doctor")
    assert (ended.status, ended.err) == (130, "error: walk_overlay.mp4: no space left for the end\n")


def test_handlers_are_put_back_and_what_was_ignored_stays_ignored(ce2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    heard: list[object] = []
    ending(monkeypatch, lambda: heard.append(signal.getsignal(signal.SIGHUP)))
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ce2p("doctor").status == 0
    finally:
        signal.signal(signal.SIGHUP, kept)
    assert heard == [signal.SIG_IGN]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_an_interrupt_while_modules_load_ends_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT); raise SystemExit(7)\n")
    done = subprocess.run(
        [sys.executable, "-m", "ce2p", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        # Where these tests run in the background of a script, SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_reader_that_has_enough_ends_the_command_quietly() -> None:
    script = f"{sys.executable} -m ce2p doctor --json - | head -c 1 > {os.devnull}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in (0, 1)  # 0 where the pipe had room for all of it
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_nobody_took_is_a_failure() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ce2p", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hat", "Hat"),
        ("Größe 人 é", "Größe 人 é"),
        ("wide\u3000blank", "wide\u3000blank"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\nc", "a\\rb\\nc"),
        ("\u202efdp.exe", "\\u202efdp.exe"),
        ("\udcff", "\\udcff"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_only_what_can_be_seen_reaches_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_line_breaks_of_ours_may_stay() -> None:
    assert printable("a\nb\x1bc", keep="\n") == "a\nb\\x1bc"


def test_escapes_in_messages_are_shown_not_obeyed(ce2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, MediaError("no class '\x1b]0;title\x07'"))
    assert ce2p("doctor").err == "error: no class '\\x1b]0;title\\x07'\n"
