"""ONNX Runtime, on the CPU or through its CUDA provider."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.text import first_line, install_hint
from ..errors import BackendError, ModelFileError
from ..model_files.onnx_file import checked_metadata
from ..process.telemetry import import_onnxruntime
from ..process.threads import keep_in_children
from .base import Backend, check_signature
from .registry import precision_refusal

logger = logging.getLogger(__name__)

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_DISABLED_OPTIMIZERS = {"int8": ["NchwcTransformer", "WeightBiasQuantization"]}
"""By precision. Quantised layers want their channels last. Where a few float layers stand among them, NchwcTransformer
gives those its own blocked layout, and upsampling beside them falls back to channels first (measured: 30 ms of 200).
WeightBiasQuantization multiplies float16 scales of activations and weights in float16, where the product vanishes and
the bias with it (seen in 1.32: a relative error of 0.18, found by the gate); our CPU files have theirs quantised."""


class OnnxRuntimeBackend(Backend):
    """Runs an exported ONNX file with ONNX Runtime.

    `device`: "cpu", "cuda", "cuda:N", or "auto" (CUDA where the installed ONNX Runtime has it and it loads, else CPU;
    `self.device` says which). A device asked for by name that does not load is a BackendError: ONNX Runtime itself
    would quietly make a CPU session. `threads`: CPU threads, None for one per physical core.
    """

    name = "onnxruntime"

    def __init__(self, path: str | Path, device: str = "auto", threads: int | None = None) -> None:
        path = Path(path)
        self.metadata = checked_metadata(path)
        session, self.device = _open_session(path, device, threads, self.metadata.precision)
        keep_in_children(session)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        self.batch = check_signature(path, self.metadata, [i.shape for i in inputs], [o.shape for o in outputs])
        self._input_name = inputs[0].name
        self._path = path
        self._session: Any = session

    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """See Backend.run."""
        session = self._session  # ours until we are done, whoever closes meanwhile
        if session is None:
            raise BackendError(f"{self._path}: this ONNX Runtime session is closed; open it again")
        try:
            # A session may run in several threads at once; every run makes arrays of its own.
            return [np.asarray(output) for output in session.run(None, {self._input_name: batch})]
        except Exception as error:  # ONNX Runtime's errors share no base class
            reason = first_line(error)
            raise BackendError(f"{self._path}: ONNX Runtime cannot run it ({reason}); try another backend") from error

    def close(self) -> None:
        """See Backend.close."""
        self._session = None


def installed_onnxruntime() -> ModuleType:
    """The module onnxruntime. Raises BackendError where it is not installed."""
    try:
        return import_onnxruntime()
    except ImportError:
        raise BackendError(f"ONNX Runtime is not installed; {install_hint('cpu')} (gpu for CUDA)") from None


def no_cuda_provider(device: str, onnxruntime: ModuleType) -> BackendError:
    """The error for a GPU asked of a build for CPUs."""
    return BackendError(
        f"device {device} asked for, but this onnxruntime {onnxruntime.__version__} has no CUDA provider; "
        f"pip uninstall onnxruntime, then {install_hint('gpu')} (never both: see `ce2p doctor`)"
    )


def provider_names() -> list[str]:
    """Kinds of device that the installed ONNX Runtime was built for, such as "CPU". Raises ImportError."""
    return [name.removesuffix("ExecutionProvider") for name in import_onnxruntime().get_available_providers()]


def _open_session(path: Path, device: str, threads: int | None, precision: str) -> tuple[Any, str]:
    """A session and the device it really runs on."""
    onnxruntime = installed_onnxruntime()
    kind, _, index = device.partition(":")
    if kind not in {"auto", *_PROVIDERS} or (index and (kind != "cuda" or not index.isdigit())):
        raise BackendError(f"device {device!r} is unknown to ONNX Runtime; expected auto, cpu, cuda or cuda:N")
    has_cuda = _PROVIDERS["cuda"] in onnxruntime.get_available_providers()
    if kind == "cuda" and not has_cuda:
        raise no_cuda_provider(device, onnxruntime)
    wanted = "cuda" if kind == "cuda" or (kind == "auto" and has_cuda) else "cpu"
    refusal = precision_refusal(OnnxRuntimeBackend.name, precision)
    if wanted == "cpu" and refusal is not None:  # before a large file is loaded for nothing
        raise BackendError(f"{path}: {refusal}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Between two passes its threads would go on spinning, and take their core from who decodes and encodes there.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    providers: list[Any] = [_PROVIDERS["cpu"]]
    if wanted == "cuda":
        # TF32 is the provider's default; float32 files are computed in float32.
        providers.insert(0, (_PROVIDERS["cuda"], {"device_id": index or "0", "use_tf32": "0"}))
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=providers, disabled_optimizers=_DISABLED_OPTIMIZERS.get(precision)
        )
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ModelFileError(
            f"{path}: ONNX Runtime cannot load it ({first_line(error)}); copy or export it again"
        ) from error
    loaded = session.get_providers()[0]
    if wanted == "cuda" and loaded != _PROVIDERS["cuda"]:
        if kind == "cuda":
            raise BackendError(
                f"device {device} asked for, but ONNX Runtime could not load CUDA and made a CPU session; "
                "check driver, CUDA and cuDNN with `ce2p doctor`"
            )
        logger.warning("CUDA is compiled into ONNX Runtime but did not load; running on the CPU (see `ce2p doctor`)")
        wanted = "cpu"
    return session, "cpu" if wanted == "cpu" else f"cuda:{index or 0}"
