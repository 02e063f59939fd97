"""The command line says that backends are being timed when that begins, and not with --quiet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.runtime.handmade import write_network


@pytest.mark.parametrize("options", [[], ["--quiet"]])
def test_timing_is_announced_once_before_the_backend_is_named(tmp_path: Path, options: list[str]) -> None:
    write_network(tmp_path / "n.onnx")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 20, 3), np.uint8))
    command = [sys.executable, "-m", "ce2p", "parse", "a.png", "-m", "n.onnx", "--device", "cpu", *options]
    environment = {**os.environ, "CE2P_CACHE": str(tmp_path / "cache")}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stderr.splitlines()
    if options:
        assert lines == []
        return
    assert lines[0].startswith("n.onnx: timing onnxruntime")
    assert sum("chosen by time" in line for line in lines) == 1
