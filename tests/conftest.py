"""What many tests share: tiny untrained networks, and one exported model."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import pytest

from ce2p_runtime.base.cache import CACHE_VARIABLE
from ce2p_runtime.process.telemetry import QUIET_IMPORTS
from tests.cuda_on_cpu import SHARED_VARIABLE
from tests.trt_on_cpu import Found, bring_up

if TYPE_CHECKING:  # the runtime's tests also run where torch is not installed
    from ce2p.models import CE2P
    from ce2p_export import GraphOptions

    Tiny: TypeAlias = Callable[..., CE2P]
    Untrained: TypeAlias = Callable[..., Path]

for name, quietly in QUIET_IMPORTS.items():  # before a test module imports them by itself
    if importlib.util.find_spec(name) is not None:
        quietly()

MODEL_VARIABLE = "CE2P_TEST_MODEL"
"""Environment variable that names the file `tiny_model` gives where torch is not installed to export one."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Here and in the processes that tests start: two threads wait for each other by spinning, slow beside any load."""
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    """The command line shows what its packages tell, in this process, too; the next test hears warnings only."""
    loggers = [logging.getLogger(name) for name in ("ce2p", "ce2p_runtime.backends")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that all workers share; what is written there appears whole, by a rename."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _kernels_compiled_once(shared_folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SHARED_VARIABLE, str(shared_folder))
        yield


@pytest.fixture(scope="session", autouse=True)
def _kept_traces(shared_folder: Path) -> Iterator[None]:
    """A network is traced for export once per run, by all workers together."""
    if "ce2p_export" not in sys.modules:  # nothing is exported in this run, or torch is not installed
        yield
        return
    from tests.tracing import keep_operation_counts, keep_traces

    with pytest.MonkeyPatch.context() as patch:
        keep_traces(shared_folder, patch)
        keep_operation_counts(patch)
        yield


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """`tiny(family, stride=16, classes=20)`: an untrained r18 network, made once per session. Do not modify it."""

    from ce2p.models import CE2PConfig, untrained

    @cache
    def make(family: str, stride: int = 16, classes: int = 20) -> CE2P:
        return untrained(CE2PConfig.of(family, "r18", stride, classes))

    return make


@pytest.fixture(scope="session")
def exported(shared_folder: Path) -> Untrained:
    """`exported(options, family="schp")`: the file of an untrained r18 network, made once per run. Do not modify it."""

    def make(options: GraphOptions, family: str = "schp") -> Path:
        from ce2p_export import export_onnx, open_model

        folder = shared_folder / hashlib.blake2b(repr((options, family)).encode(), digest_size=16).hexdigest()
        file = folder / ("tiny.onnx" if options.precision == "fp32" else f"tiny_{options.precision}.onnx")
        if not file.exists():
            source = open_model("lip-r18-os16", family=family, random=True)
            export_onnx(source, options, folder / f"{os.getpid()}.onnx").path.replace(file)
        return file

    return make


@pytest.fixture(scope="session")
def tiny_model(request: pytest.FixtureRequest) -> Path:
    """An exported untrained SCHP network with 20 classes for 97x97 inputs, float in, logits out."""
    if (made := os.environ.get(MODEL_VARIABLE)) is not None:
        return Path(made)
    from ce2p_export import GraphOptions

    path: Path = request.getfixturevalue("exported")(GraphOptions((97, 97)))
    return path


@pytest.fixture(scope="session")
def tensorrt_found() -> Found:
    """TensorRT and how it was found; skips where there is none, fails in CI, where tests/trt_on_cpu is installed."""
    found = bring_up()
    if found.module is None:
        if os.environ.get("CI"):
            pytest.fail(f"in CI TensorRT must be there: {found.reason}")
        pytest.skip(found.reason)
    return found


@pytest.fixture(scope="session")
def trt(tensorrt_found: Found) -> ModuleType:
    """The module tensorrt: the official one, or the stand-in of tests/trt_on_cpu."""
    assert tensorrt_found.module is not None
    return tensorrt_found.module


def pytest_addoption(parser: pytest.Parser) -> None:
    """How the tests against damaged files draw their damage."""
    parser.addoption("--fuzz-seed", type=int, default=13, help="Seed of the damage; another one looks elsewhere.")
    parser.addoption("--fuzz-count", type=int, default=500, help="Damaged files per format.")
    parser.addoption("--live-runs", type=int, default=15, help="Runs over live sources with faults.")
    parser.addoption("--kill-moments", type=int, default=2, help="Moments at which each command meets each signal.")


LONGEST = tuple(
    f"tests/{name}.py"
    for name in ("training/test_rows", "training/test_resume", "hostile/test_kills", "benchmarks/gpu/test_on_cpu")
)
"""Modules whose single tests take longest: they start first, so that no core waits for the last of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(scope="session")
def fuzz_seed(request: pytest.FixtureRequest) -> int:
    """Seed for `tests.hostile.mutations`."""
    return int(request.config.getoption("--fuzz-seed"))


@pytest.fixture(scope="session")
def fuzz_count(request: pytest.FixtureRequest) -> int:
    """Damaged files per format."""
    return int(request.config.getoption("--fuzz-count"))
