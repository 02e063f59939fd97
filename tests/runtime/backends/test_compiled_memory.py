"""Compiled networks in the cache: kept whole or not at all, checked before a library sees them, bounded."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ce2p_runtime.backends import open_backend
from ce2p_runtime.backends.compiled_memory import LIMIT_VARIABLE, compiled_key, keep_compiled, recall_compiled
from ce2p_runtime.base.cache import CACHE_VARIABLE
from ce2p_runtime.errors import CE2PRuntimeError
from tests.runtime.handmade import write_network

CONTENT = bytes(range(256)) * 4
MIB = 1 << 20


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    return tmp_path / "cache/compiled"


def keep(key: str, content: bytes = CONTENT) -> None:
    keep_compiled(key, "model.onnx", lambda: memoryview(content))


def recalled(key: str) -> bytes | None:
    found = recall_compiled(key)
    return None if found is None else found.tobytes()


def test_what_was_kept_is_recalled_under_its_key_alone(folder: Path) -> None:
    one, other = compiled_key({"a": 1}), compiled_key({"a": 2})
    assert recalled(one) is None
    keep(one)
    assert recalled(one) == CONTENT
    assert recalled(other) is None
    (file,) = folder.iterdir()
    assert json.loads(file.read_bytes().partition(b"\n")[0])["model"] == "model.onnx"
    assert os.name == "nt" or file.stat().st_mode & 0o777 == 0o600


def test_what_is_there_is_not_compiled_for_again(folder: Path) -> None:
    keep("0" * 64)
    (before,) = folder.iterdir()
    written = before.stat().st_mtime_ns
    keep_compiled("0" * 64, "model.onnx", lambda: pytest.fail("exported for nothing"))
    assert before.stat().st_mtime_ns == written


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def head_changed(content: bytes, **changes: object) -> bytes:
    line, _, rest = content.partition(b"\n")
    return json.dumps({**json.loads(line), **changes}).encode() + b"\n" + rest


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-1],
    "cut within the first line": lambda content: content[:20],
    "longer": lambda content: content + b"\0",
    "a bit at the end": lambda content: flipped(content, -1 + len(content)),
    "a bit in the middle": lambda content: flipped(content, len(content) - 500),
    "zeros": lambda content: content.partition(b"\n")[0] + b"\n" + bytes(len(CONTENT)),
    "no line": lambda content: b"\0" * len(content),
    "another key": lambda content: head_changed(content, key="1" * 64),
    "another format": lambda content: head_changed(content, format=0),
    "a list": lambda content: b"[]\n" + CONTENT,
    "a digest that is no text": lambda content: head_changed(content, sha256=None),
    "a size that is no number": lambda content: head_changed(content, bytes="many"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_said_once_removed_and_made_good(
    folder: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    key = "0" * 64
    keep(key)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert recalled(key) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "compiling again" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert not file.exists()
    keep(key)
    assert file.read_bytes() == whole
    assert recalled(key) == CONTENT


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such files and modes")
@pytest.mark.parametrize("what", ["pipe", "folder", "link to zeros", "writable by others"])
def test_what_others_may_have_put_there_is_not_read(folder: Path, caplog: pytest.LogCaptureFixture, what: str) -> None:
    key = "0" * 64
    keep(key)
    (file,) = folder.iterdir()
    if what == "writable by others":
        file.chmod(0o622)
    else:
        file.unlink()
        {"pipe": os.mkfifo, "folder": os.mkdir, "link to zeros": lambda path: path.symlink_to("/dev/zero")}[what](file)
    assert recalled(key) is None
    assert [record.getMessage().count("compiling again") for record in caplog.records] == [1]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_read(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep("0" * 64)
    (file,) = folder.iterdir()
    os.chown(file, 12345, -1)
    assert recalled("0" * 64) is None
    assert "belongs to another user" in caplog.text


def test_the_least_recently_used_go_where_all_would_take_too_much(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "1")
    keys = [str(number) * 64 for number in range(4)]
    for age, key in zip((40, 30, 20), keys[:3], strict=True):
        keep(key, bytes(300_000))
        os.utime(folder / f"{key[:32]}.compiled", (1e9 - age, 1e9 - age))
    assert recalled(keys[0]) is not None, "now the second is the one that was used longest ago"
    keep(keys[3], bytes(300_000))
    assert [key for key in keys if recalled(key) is not None] == [keys[0], keys[2], keys[3]]
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MIB


def test_what_is_larger_than_all_may_be_is_not_kept_and_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv(LIMIT_VARIABLE, "1")
    keep("0" * 64, bytes(MIB + 1))
    assert list(folder.iterdir()) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"model.onnx: compiled, 1 MiB, it is not kept ({LIMIT_VARIABLE})"
    ]


def test_with_a_limit_of_nothing_none_is_written_or_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep("0" * 64)
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    assert recalled("0" * 64) is None
    keep_compiled("1" * 64, "model.onnx", lambda: pytest.fail("exported for nothing"))
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("value", ["much", "-1", "1.5", "\u0661", "9" * 30])
def test_a_senseless_limit_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, value)
    with pytest.raises(CE2PRuntimeError, match=f"{LIMIT_VARIABLE} is .*, expected the MiB") as caught:
        open_backend(write_network(tmp_path / "handmade.onnx"))
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_costs_one_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.parent.write_text("not a folder")
    assert recalled("0" * 64) is None
    keep_compiled("0" * 64, "model.onnx", lambda: pytest.fail("exported for nothing"))
    (record,) = caplog.records
    assert record.getMessage().startswith("the compiled network is not kept: ")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells which processes have ended")
def test_what_a_killed_process_left_goes(folder: Path) -> None:
    """In the middle of writing, as a kill finds it."""
    code = (
        "import os, signal\n"
        "from ce2p_runtime.backends.compiled_memory import keep_compiled\n"
        "import json\n"
        "json.dumps = lambda document: os.kill(os.getpid(), signal.SIGKILL)\n"
        "keep_compiled('5' * 64, 'model.onnx', lambda: memoryview(b'1234'))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode < 0, ended.stderr
    (left,) = folder.iterdir()
    assert left.name.startswith(".555")
    keep("0" * 64)
    assert [file.name for file in folder.iterdir()] == ["0" * 32 + ".compiled"]


def test_many_processes_at_once_leave_one_whole_file(folder: Path) -> None:
    code = (
        "from ce2p_runtime.backends.compiled_memory import keep_compiled, recall_compiled\n"
        "for number in range(40):\n"
        "    content = bytes([number]) * 200_000\n"
        "    keep_compiled(f'{number % 4}' * 64, 'model.onnx', lambda: memoryview(content))\n"
        "    found = recall_compiled(f'{number % 4}' * 64)\n"
        "    assert found is None or len(found) == 200_000 and len(set(found.tolist())) == 1\n"
    )
    environment = {**os.environ, LIMIT_VARIABLE: "1"}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate()[1] for process in running]
    assert ([process.returncode for process in running], said) == ([0, 0, 0], ["", "", ""])
    assert sorted(file.name for file in folder.iterdir()) == [f"{number}" * 32 + ".compiled" for number in range(4)]


def test_recalled_content_may_be_written_to_without_changing_the_file(folder: Path) -> None:
    """A library may do so, and NumPy says whether it may."""
    keep("0" * 64)
    found = recall_compiled("0" * 64)
    assert found is not None
    assert found.dtype == np.uint8
    found[:] = 0
    assert recalled("0" * 64) == CONTENT
