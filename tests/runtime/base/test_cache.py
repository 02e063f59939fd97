"""The cache folder: where it is, and that nothing in it can hurt whoever reads it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from ce2p_runtime import HumanParser
from ce2p_runtime.backends import BACKENDS, choice_memory, choice_timing
from ce2p_runtime.backends.choice import options_for
from ce2p_runtime.base.cache import CACHE_VARIABLE, cache_folder, read_cached
from ce2p_runtime.errors import CE2PRuntimeError
from tests.runtime.handmade import write_network

pwd = pytest.importorskip("pwd", reason="other systems find the home folder in another way")


@pytest.fixture(autouse=True)
def _nothing_is_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine is busy with: a noisy choice of a backend would not reach the cache."""
    monkeypatch.setattr(choice_memory, "_of_this_process", {})
    for limit in ("MOST_WAITING", "MOST_SPREAD"):
        monkeypatch.setattr(choice_timing, limit, float("inf"))


def make_pipe(file: Path) -> None:
    os.mkfifo(file)


def link_to_zeros(file: Path) -> None:
    file.symlink_to("/dev/zero")


def link_to_itself(file: Path) -> None:
    file.symlink_to(file)


HOSTILE = [make_pipe, link_to_zeros, link_to_itself, Path.mkdir]


@pytest.mark.parametrize("make", HOSTILE)
def test_what_is_no_regular_file_is_an_oserror_at_once(tmp_path: Path, make: object) -> None:
    make(tmp_path / "entry")  # type: ignore[operator]
    with pytest.raises(OSError, match="entry"):
        read_cached(tmp_path / "entry")


def test_files_are_read_up_to_a_size(tmp_path: Path) -> None:
    file = tmp_path / "entry"
    file.write_bytes(b"12345")
    assert read_cached(file) == read_cached(file, 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_cached(file, 4)
    with pytest.raises(FileNotFoundError):
        read_cached(tmp_path / "other")


@pytest.mark.parametrize("make", HOSTILE)
def test_a_hostile_memory_of_backends_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: object
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    network = write_network(tmp_path / "handmade.onnx")
    picture = np.zeros((20, 30, 3), np.uint8)
    (tmp_path / "cache/backends").mkdir(parents=True)
    make(choice_memory._file(choice_memory.choice_key(network, options_for(BACKENDS, None))))  # type: ignore[operator]
    with HumanParser(network, device="cpu") as parser:
        assert parser(picture).labels.shape == (20, 30)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("cannot be read, measuring again" in text for text in warnings)
    assert all("\n" not in text for text in warnings)


def test_a_cache_of_a_user_who_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "~no-such-user-here/x")
    with pytest.raises(CE2PRuntimeError, match=r"CE2P_CACHE is '~no-such-user-here/x'.*name another") as caught:
        cache_folder("backends")
    assert "\n" not in str(caught.value)


def test_who_has_no_home_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container that runs under a number that no account has."""

    def unknown(number: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in (CACHE_VARIABLE, "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with HumanParser(write_network(tmp_path / "handmade.onnx"), device="cpu") as parser:
        assert parser(np.zeros((20, 30, 3), np.uint8)).labels.shape == (20, 30)
    assert "not remembered" in caplog.text
    assert not cache_folder("backends").exists()
