"""Export and running in one process: one TensorRT logger, and each side hears what is its own."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ce2p_export.tensorrt.failures import EngineError
from ce2p_export.tensorrt.layers import inspect_plan
from ce2p_export.tensorrt.messages import collecting
from ce2p_runtime import BackendError
from ce2p_runtime.backends import open_backend
from ce2p_runtime.backends.tensorrt import TensorRTBackend
from ce2p_runtime.backends.tensorrt_log import process_log, take_complaint
from ce2p_runtime.cuda.driver import CudaDevice
from tests.cuda_standin import GpuStandIn
from tests.cuda_standin.fake_networks import make_engine


@pytest.fixture
def damaged(networks: dict[str, Path], tmp_path: Path) -> Path:
    path = make_engine(networks["schp"], tmp_path / "x.engine")
    path.write_bytes(path.read_bytes()[:-100])
    return path


@pytest.fixture
def log(gpu: GpuStandIn) -> Callable[[str, str], None]:
    """Logs (severity, message) as TensorRT does."""
    trt = gpu.module("tensorrt")
    return lambda severity, message: process_log(trt).log(trt.ILogger.Severity[severity], message)


def export(trt: Any) -> None:
    with CudaDevice.open(0).active("inspection"), collecting() as messages:
        with pytest.raises(EngineError):
            inspect_plan(trt, b"no plan", process_log(trt), host_code=False)
        gc.collect()  # the error's frames hold the runtime, which must go while its GPU is there
    assert len(messages.errors) == 1
    assert "Serialization failed" in messages.errors[0]


def load(path: Path) -> None:
    with pytest.raises(BackendError, match=r"can load; build it again \(TensorRT: .* Serialization failed\)"):
        open_backend(path, trust=True)


@pytest.mark.parametrize("exported_first", [True, False])
def test_whoever_comes_second_hears_its_errors(gpu: GpuStandIn, damaged: Path, exported_first: bool) -> None:
    """The stand-in, like TensorRT, logs to the first logger it was given."""
    if exported_first:
        export(gpu.module("tensorrt"))
    load(damaged)
    export(gpu.module("tensorrt"))
    load(damaged)


def test_an_error_of_an_export_is_not_the_reason_of_a_later_failure(
    gpu: GpuStandIn, networks: dict[str, Path], tmp_path: Path, log: Callable[[str, str], None]
) -> None:
    backend = TensorRTBackend(make_engine(networks["schp"], tmp_path / "x.engine"))
    try:
        # Refused without a word.
        backend._loaded.context.set_input_shape = lambda name, shape: False
        backend._loaded.context.execute_async_v3 = lambda stream: False
        log("ERROR", "of an export")
        with pytest.raises(BackendError, match=r"refused$"):
            backend.bind(1, {})
        log("ERROR", "of an export")
        with pytest.raises(BackendError, match=r"cannot be run$"):
            backend.enqueue()
    finally:
        backend.close()


def test_complaints_stay_in_their_thread_and_collecting_hears_all(log: Callable[[str, str], None]) -> None:
    take_complaint()
    with collecting() as messages:
        builder = threading.Thread(target=lambda: [log("WARNING", "slow"), log("ERROR", "no\n tactic")])
        builder.start()
        builder.join()
        log("INTERNAL_ERROR", "of this thread\n  ...")
        log("ERROR", "and what follows from it")
    log("ERROR", "too late")
    assert messages.warnings == ("slow",)
    assert messages.errors == ("no\n tactic", "of this thread\n  ...", "and what follows from it")
    assert take_complaint() == "of this thread ..."
    assert take_complaint() == ""


def test_what_is_reported_is_not_logged_aloud(
    log: Callable[[str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger=process_log.__module__)

    def said() -> list[tuple[str, str]]:
        caplog.clear()
        for severity in ("ERROR", "WARNING", "INFO", "VERBOSE"):
            log(severity, f"a {severity}")
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    with collecting():
        assert said() == [("DEBUG", f"TensorRT: {kind}: a {kind}") for kind in ("ERROR", "WARNING", "INFO")]
    levels = {"INFO": "INFO", "ERROR": "INFO", "WARNING": "WARNING", "VERBOSE": "DEBUG"}
    assert said() == [(levels[kind], f"TensorRT: a {kind}") for kind in ("ERROR", "WARNING", "INFO", "VERBOSE")]
