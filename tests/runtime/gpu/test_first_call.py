"""The command line up to the first call that needs a device: one clear line, status 1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p.__main__ import main
from tests.cuda_standin import GpuStandIn
from tests.cuda_standin.fake_networks import make_engine

ROOT = Path(__file__).parents[3]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "person.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8))
    return path


def parse(picture: Path, engine: Path, *options: str) -> list[str]:
    return ["ce2p", "parse", str(picture), "-m", str(engine), "-o", str(picture.parent / "out"), *options]


def test_an_engine_where_there_is_no_gpu_ends_with_one_line(
    networks: dict[str, Path], tmp_path: Path, picture: Path
) -> None:
    """In a process of its own, with what is really installed: no TensorRT, pycuda, driver or GPU, or no valid plan."""
    engine = make_engine(networks["schp"], tmp_path / "x.engine")
    environment = {**os.environ, "PYTHONPATH": ":".join(str(ROOT / part) for part in (".", "export", "runtime"))}
    command = [sys.executable, "-m", *parse(picture, engine)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("missing", "message"),
    [(("tensorrt",), "pip install tensorrt==11.4.0.106"), (("pycuda", "pycuda.driver"), "needs the package pycuda")],
)
def test_what_is_missing_is_named(
    gpu: GpuStandIn,
    networks: dict[str, Path],
    tmp_path: Path,
    picture: Path,
    missing: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu.without(*missing)
    monkeypatch.setattr(sys, "argv", parse(picture, make_engine(networks["schp"], tmp_path / "x.engine")))
    with pytest.raises(SystemExit, match="1"):
        main()
    assert message in capsys.readouterr().err


def test_an_engine_is_parsed_with_from_the_command_line(
    gpu: GpuStandIn,
    networks: dict[str, Path],
    tmp_path: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = make_engine(networks["schp"], tmp_path / "x.plan", plan_sha256="0")
    monkeypatch.setattr(sys, "argv", parse(picture, engine))
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "--trust-engine" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", parse(picture, engine, "--trust-engine"))
    with pytest.raises(SystemExit, match="0"):
        main()
    shown = capsys.readouterr()
    assert "tensorrt on cuda:0 (Stand-in GPU, CUDA graph, kernels compiled here)" in " ".join(shown.err.split())
    assert "upload" in shown.out
    assert (tmp_path / "out/person_labels.png").exists()
