"""Nothing is reported to anybody: in a fresh home no file appears, and nobody is called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ce2p_runtime.backends import BACKENDS
from ce2p_runtime.process.telemetry import ORT_VARIABLE, openvino_consent, telemetry_state

PARSE = (
    "import sys; import numpy as np; from ce2p_runtime import HumanParser\n"
    "with HumanParser(sys.argv[1], backend=sys.argv[2], device='cpu') as parser:\n"
    "    parser(np.zeros((60, 50, 3), np.uint8))\n"
)
IMPORT = "from ce2p_runtime.process.telemetry import import_onnxruntime, import_openvino\n"


def in_fresh_home(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run with an empty home, and without what silences the libraries by itself: CI, ORT_RUNNING_UNIT_TESTS."""
    for name in ("home", "work"):
        (folder / name).mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment = {**kept, "HOME": str(folder / "home"), "CE2P_CACHE": str(folder / "cache"), **variables}
    return subprocess.run(
        command, cwd=folder / "work", env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def appeared(folder: Path) -> list[Path]:
    return [path for name in ("home", "work") for path in (folder / name).rglob("*") if path.is_file()]


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
def test_parsing_leaves_no_file_in_a_fresh_home(tiny_model: Path, tmp_path: Path, backend: str) -> None:
    ended = in_fresh_home(tmp_path, sys.executable, "-c", PARSE, str(tiny_model), backend)
    assert ended.returncode == 0, ended.stderr
    assert appeared(tmp_path) == []


def test_the_command_line_leaves_no_file_in_a_fresh_home(tmp_path: Path) -> None:
    ended = in_fresh_home(tmp_path, sys.executable, "-m", "ce2p", "doctor")
    assert "backend onnxruntime" in ended.stdout, ended.stderr
    assert "ONNX Runtime's off, OpenVINO's off" in ended.stdout
    assert [path for path in appeared(tmp_path) if {"intel", "Microsoft"} & set(path.parts)] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_address_is_looked_up_or_called(tiny_model: Path, tmp_path: Path, backend: str) -> None:
    tools = [shutil.which(tool) for tool in ("unshare", "strace")]
    if None in tools or in_fresh_home(tmp_path, str(tools[0]), "-n", str(tools[1]), "-V").returncode != 0:
        pytest.skip("needs strace, and unshare with the right to make a network namespace")
    log = tmp_path / "calls.txt"
    trace = (str(tools[0]), "-n", str(tools[1]), "-f", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log))
    ended = in_fresh_home(tmp_path, *trace, sys.executable, "-c", PARSE, str(tiny_model), backend)
    assert ended.returncode == 0, ended.stderr
    calls = log.read_text().splitlines()
    assert calls, "strace saw nothing, not even the end"
    assert [call for call in calls if "AF_INET" in call] == []


def test_who_decided_for_himself_is_left_his_way(tmp_path: Path) -> None:
    code = f"{IMPORT}import os; import_onnxruntime(); print(os.environ['{ORT_VARIABLE}'])"
    for value in ("0", ""):
        ended = in_fresh_home(tmp_path, sys.executable, "-c", code, **{ORT_VARIABLE: value, "CI": "true"})
        assert (ended.returncode, ended.stdout) == (0, f"{value}\n"), ended.stderr
    ended = in_fresh_home(tmp_path, sys.executable, "-c", code)
    assert ended.stdout == "1\n", ended.stderr


def test_openvinos_own_package_stays_importable(tmp_path: Path) -> None:
    pytest.importorskip("openvino_telemetry")
    code = f"{IMPORT}import_openvino(); import openvino_telemetry; print(openvino_telemetry.Telemetry.__name__)"
    ended = in_fresh_home(tmp_path, sys.executable, "-c", code)
    assert (ended.returncode, ended.stdout) == (0, "Telemetry\n"), ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the home folder is found in another way there")
@pytest.mark.parametrize(
    ("content", "agreed"), [("1", True), ("1\n", True), ("0", False), ("", False), ("1" * 1000, False), (None, False)]
)
def test_consent_is_a_one_in_openvinos_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, agreed: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "intel").mkdir()
    file = tmp_path / "intel/openvino_telemetry"
    if content is None:
        os.mkfifo(file)
    else:
        file.write_text(content)
    assert openvino_consent() is agreed
    monkeypatch.setenv(ORT_VARIABLE, "0")
    state = "on, as was agreed with its opt_in_out" if agreed else "off"
    assert telemetry_state() == f"ONNX Runtime's as {ORT_VARIABLE}=0 has it, OpenVINO's {state}"
