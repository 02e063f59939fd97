"""What values the activations take on real pictures: for each tensor its extremes and a histogram.

A float32 network runs over the calibration pictures with every tensor of interest as an extra output. Extremes are
exact; the histogram is filled from a regular sample of each tensor and picture, since ranges and shares need thousands
of values, not the hundreds of millions that a hundred layers produce. One collection serves every method in
`ranges.py`. It is kept in the cache folder under the hash of the graph and of the pictures: calibrating a network on
the same pictures again costs nothing, and any change is another key.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ce2p.errors import CE2PError
from ce2p_runtime.base.cache import cache_folder, read_cached
from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.base.progress import StepProgress
from ce2p_runtime.base.text import install_hint
from ce2p_runtime.errors import MediaError
from ce2p_runtime.process.telemetry import import_onnxruntime

logger = logging.getLogger(__name__)

BINS = 2048
"""Of each histogram, equally wide between the tensor's extremes."""
SAMPLES = 1 << 14
"""Values of one tensor taken for each picture, evenly spread over it."""
_FORMAT = 1


@dataclass(frozen=True)
class ActivationStatistics:
    """One tensor over all calibration pictures."""

    low: float
    high: float
    histogram: NDArray[np.int64]
    """[BINS], counts of sampled values between `low` and `high`."""

    @property
    def edges(self) -> NDArray[np.float64]:
        """[BINS + 1]."""
        return np.linspace(self.low, self.high, len(self.histogram) + 1)


def calibrate(
    model: bytes,
    tensors: Sequence[str],
    inputs: Sequence[NDArray[Any]],
    progress: StepProgress = lambda done, total: None,
) -> tuple[dict[str, ActivationStatistics], bool]:
    """Statistics of `tensors` of a serialised float32 `model` over `inputs`, and whether they came from the cache.

    `inputs`: batches as the model takes them. Raises CE2PError as `collect` does. A cache that cannot be
    written costs the time again, nothing else.
    """
    key = hashlib.sha256(f"{_FORMAT} {SAMPLES} {BINS} {' '.join(tensors)}".encode())
    key.update(hashlib.sha256(model).digest())
    for batch in inputs:
        key.update(hashlib.sha256(np.ascontiguousarray(batch).tobytes()).digest())
    file = cache_folder("calibration") / f"{key.hexdigest()[:32]}.npz"
    kept = _read(file, tensors)
    if kept is not None:
        return kept, True
    statistics = collect(model, tensors, inputs, progress)
    _keep(file, statistics)
    return statistics, False


def collect(
    model: bytes,
    tensors: Sequence[str],
    inputs: Sequence[NDArray[Any]],
    progress: StepProgress = lambda done, total: None,
) -> dict[str, ActivationStatistics]:
    """Run `model` over `inputs` and look at `tensors`.

    Raises CE2PError without a picture, and for a tensor that is not finite everywhere.
    """
    if not inputs:
        raise CE2PError("calibration needs at least one picture, found none; give --calib a folder with pictures")
    session = session_with_outputs(model, tensors)
    name = session.get_inputs()[0].name
    low, high = dict.fromkeys(tensors, np.inf), dict.fromkeys(tensors, -np.inf)
    samples: dict[str, list[NDArray[np.float32]]] = {tensor: [] for tensor in tensors}
    for done, batch in enumerate(inputs, 1):
        for tensor, value in zip(tensors, session.run(list(tensors), {name: batch}), strict=True):
            low[tensor] = min(low[tensor], float(value.min()))
            high[tensor] = max(high[tensor], float(value.max()))
            flat = value.ravel()
            # An odd step visits every channel and column whatever their number of values.
            samples[tensor].append(flat[:: (len(flat) // (SAMPLES * len(batch))) | 1].copy())
        progress(done, len(inputs))
    wrong = [tensor for tensor in tensors if not np.isfinite(high[tensor] - low[tensor])]
    if wrong:
        raise CE2PError(f"calibration: {wrong[0]} is not finite on these pictures; check the weights with `ce2p val`")
    return {tensor: _summary(low[tensor], high[tensor], samples[tensor]) for tensor in tensors}


def too_large_for_half(model: bytes, inputs: Sequence[NDArray[Any]]) -> list[str]:
    """Names of nodes whose results go beyond float16 on these inputs, or nearly: twice their size would."""
    proto = onnx.load_from_string(model)
    shaped = {value.name: value.type.tensor_type.elem_type for value in proto.graph.value_info}
    floats = {name for name, kind in shaped.items() if kind == onnx.TensorProto.FLOAT}
    producers = {name: node.name for node in proto.graph.node for name in node.output if name in floats}
    if not producers:
        return []
    statistics = collect(model, list(producers), inputs)
    limit = float(np.finfo(np.float16).max) / 2
    return [producers[name] for name, entry in statistics.items() if max(-entry.low, entry.high) > limit]


def _summary(low: float, high: float, samples: list[NDArray[np.float32]]) -> ActivationStatistics:
    if low == high:  # a tensor that is the same everywhere, such as a dead channel's
        high = low + 1e-6
    counts, _ = np.histogram(np.concatenate(samples), BINS, (low, high))
    return ActivationStatistics(low, high, counts.astype(np.int64))


def session_with_outputs(model: bytes, tensors: Sequence[str]) -> Any:
    try:
        onnxruntime = import_onnxruntime()
    except ImportError:
        raise CE2PError(f"calibration needs ONNX Runtime, which is not installed; {install_hint('cpu')}") from None
    proto = onnx.load_from_string(model)
    present = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors if tensor not in present)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _read(file: Path, tensors: Sequence[str]) -> dict[str, ActivationStatistics] | None:
    """What the cache holds, or None; a damaged file counts as none, and a warning is logged."""
    try:
        with np.load(io.BytesIO(read_cached(file)), allow_pickle=False) as stored:
            extremes, histograms = stored["extremes"], stored["histograms"]
        if extremes.shape != (len(tensors), 2) or histograms.shape != (len(tensors), BINS):
            raise ValueError("of other tensors")
        if (extremes.dtype, histograms.dtype) != (np.float64, np.int64) or not np.isfinite(extremes).all():
            raise ValueError("of other numbers")
    except FileNotFoundError:
        return None
    except Exception as error:  # zipfile, zlib and NumPy have a dozen kinds for damage
        logger.warning("%s: is damaged (%s), so the network is calibrated again", file, type(error).__name__)
        return None
    return {
        tensor: ActivationStatistics(float(low), float(high), histogram)
        for tensor, (low, high), histogram in zip(tensors, extremes, histograms, strict=True)
    }


def _keep(file: Path, statistics: dict[str, ActivationStatistics]) -> None:
    extremes = np.array([(s.low, s.high) for s in statistics.values()])
    histograms = np.array([s.histogram for s in statistics.values()])
    try:
        with atomic_path(file) as temporary:
            np.savez_compressed(temporary, extremes=extremes, histograms=histograms)
    except (OSError, MediaError):
        return
