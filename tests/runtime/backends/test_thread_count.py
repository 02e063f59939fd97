"""A number of threads that no network can run with is refused before anything is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ce2p.api.reference import open_reference
from ce2p.api.score import score
from ce2p.checkpoints import save_checkpoint
from ce2p.models import CE2P
from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.backends import BACKENDS, check_threads, open_backend
from tests.runtime.handmade import write_network

CORES = os.cpu_count() or 1


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "handmade.onnx")


@pytest.mark.parametrize("threads", [0, -1, -4, 4 * CORES + 1, 100_000, 10**30, True, 2.0, "2"])
def test_senseless_numbers_are_refused(network: Path, threads: object) -> None:
    for backend in ("auto", *BACKENDS, "tensorrt"):
        with pytest.raises(BackendError, match=f"expected a whole number from 1 to {4 * CORES} ") as caught:
            open_backend(network, backend, "cpu", threads)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    with pytest.raises(BackendError, match="threads is"):
        HumanParser(network, threads=threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
def test_whatever_is_admitted_runs(network: Path, backend: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    labels = []
    for threads in (None, 1, 4 * CORES if CORES < 16 else CORES):
        check_threads(threads)
        with HumanParser(network, backend=backend, device="cpu", threads=threads) as parser:
            labels.append(parser(picture).labels)
    assert (labels[0] == labels[1]).all()
    assert (labels[0] == labels[2]).all()


def test_networks_in_pytorch_are_held_to_it_too(tiny: Callable[..., CE2P], tmp_path: Path) -> None:
    file = save_checkpoint(tmp_path / "net.safetensors", tiny("schp"), "lip", "untrained", untrained=True)
    before = torch.get_num_threads()
    with pytest.raises(BackendError, match="threads is 100000"):
        open_reference(file, (33, 33), threads=100_000)
    with pytest.raises(BackendError, match="threads is 100000"):
        score(file, tmp_path, threads=100_000)
    assert torch.get_num_threads() == before


def test_the_command_line_says_it_in_one_line(network: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 20, 3), np.uint8))
    command = [sys.executable, "-m", "ce2p", "parse", "a.png", "-m", str(network), "--threads", "100000"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: threads is 100000, expected a whole number from 1 to ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]
