"""Where TensorRT cannot be brought up, the reason says what to install; where it can, it is the real one."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from tests.trt_on_cpu import Found, bring_up
from tests.trt_on_cpu.bring_up import BINDINGS, REQUIREMENTS, _load_stand_in


def test_it_is_brought_up_once(tensorrt_found: Found, trt: ModuleType) -> None:
    assert bring_up() is tensorrt_found
    if tensorrt_found.stand_in:
        assert trt.__version__ == BINDINGS
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    assert builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)).num_layers == 0


def test_the_stand_in_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert _load_stand_in().endswith(f"pip install --no-deps -r {REQUIREMENTS}")


def test_there_is_no_compiler(tensorrt_found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    if not tensorrt_found.stand_in:
        pytest.skip("the official TensorRT needs no compiler")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "needs gcc" in _load_stand_in()


def test_the_versions_are_those_of_the_requirements() -> None:
    pinned = (Path(__file__).parents[3] / REQUIREMENTS).read_text()
    assert f"tensorrt-cu13-bindings=={BINDINGS}\n" in pinned
    assert f"tensorrt-cu13=={BINDINGS}\n" in pinned
