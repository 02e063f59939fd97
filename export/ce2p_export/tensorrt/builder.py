"""One build: ONNX file in, serialized plan out. One path for TensorRT 10.9 to 11.

The network is always strongly typed: types come from the graph. TensorRT 11 knows nothing else, and TensorRT 10 then
behaves alike. Flags are taken by name; their numbers changed between the two.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ce2p_runtime.backends.tensorrt_log import process_log
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.model_files.engine_file import Profile

from .failures import EngineError, build_failure, parse_failure, readable
from .layers import NetworkLayer, network_layers
from .messages import Messages, Watch, collecting, make_monitor
from .preparation import Prepared, check_batches, load_onnx, prepare
from .settings import BuildSettings

GIB = 1 << 30


@dataclass(frozen=True)
class BuiltPlan:
    """A plan and how it came about."""

    plan: bytes
    profiles: tuple[Profile, ...]
    plugins: dict[str, int]
    """Our ops that are inside as plugins, and how often."""
    inputs: dict[str, str]
    """Name -> TensorRT's type, "FLOAT", "HALF", "UINT8"."""
    outputs: dict[str, str]
    layers: tuple[NetworkLayer, ...]
    """As parsed; what runs is known only to the inspector, which needs a GPU."""
    timing_cache: bytes
    """What was measured, for the next build; empty where TensorRT kept none."""
    seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Session:
    """What belongs together while a network is built."""

    trt: Any
    messages: Messages
    builder: Any
    network: Any


def build_plan(
    trt: Any, path: Path, settings: BuildSettings, *, timing_cache: bytes = b"", progress: Progress = without_progress
) -> BuiltPlan:
    """Build the plan of an ONNX file with `trt`, the module tensorrt. With `settings.plugins`, register them first.

    Raises EngineError in one line: what TensorRT refused, where, and the cure; also when `progress` answered False.
    What `progress` raises stops the build and is raised again here.
    """
    started = time.perf_counter()
    model = load_onnx(path)
    batches = check_batches(model, settings.batches, path)
    prepared = prepare(model, plugins=settings.plugins)
    with collecting() as messages:
        session = _open(trt, messages)
        _parse(session, prepared, path)
        config = session.builder.create_builder_config()
        profiles = _set_batches(session, config, batches, path)
        _configure(session, config, settings)
        _give_timing_cache(config, timing_cache)
        plan = _build(session, config, progress, path)
    network = session.network
    return BuiltPlan(
        plan=plan,
        profiles=profiles,
        plugins=prepared.plugins,
        inputs={tensor.name: tensor.dtype.name for tensor in map(network.get_input, range(network.num_inputs))},
        outputs={tensor.name: tensor.dtype.name for tensor in map(network.get_output, range(network.num_outputs))},
        layers=network_layers(network),
        timing_cache=_take_timing_cache(config),
        seconds=time.perf_counter() - started,
        warnings=messages.warnings,
    )


def _open(trt: Any, messages: Messages) -> _Session:
    try:
        builder = trt.Builder(process_log(trt))
    except Exception as error:  # pybind11 raises TypeError where the factory returns nothing
        reason = messages.errors[0] if messages.errors else str(error)
        cure = "check the driver with nvidia-smi"
        raise EngineError(f"TensorRT {trt.__version__} does not start: {readable(reason)}; {cure}") from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    return _Session(trt, messages, builder, network)


def _parse(session: _Session, prepared: Prepared, path: Path) -> None:
    parser = session.trt.OnnxParser(session.network, process_log(session.trt))
    if parser.parse(prepared.content, str(path)):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    raise EngineError(parse_failure(path, errors, session.messages.errors))


def _set_batches(session: _Session, config: Any, batches: tuple[int, ...], path: Path) -> tuple[Profile, ...]:
    """Fix the batch, or add one profile per batch size. Our files have one input, whose only free axis is the batch."""
    image = session.network.get_input(0)
    in_file, *rest = tuple(image.shape)
    if in_file == -1 and len(batches) == 1:
        image.shape = (batches[0], *rest)  # nothing dynamic is left in the network
    elif in_file == -1:
        for batch in batches:
            profile = session.builder.create_optimization_profile()
            shape = (batch, *rest)
            profile.set_shape(image.name, shape, shape, shape)
            if config.add_optimization_profile(profile) < 0:
                raise EngineError(f"{path}: TensorRT refuses batch {batch}: {_last(session.messages.errors)}")
    return tuple(Profile(batch, batch, batch) for batch in batches)


def _configure(session: _Session, config: Any, settings: BuildSettings) -> None:
    trt = session.trt
    if settings.workspace_gib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(settings.workspace_gib * GIB))
    config.builder_optimization_level = settings.optimization_level
    # Without it the inspector lists names only, and nothing could be said about precision.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if settings.hardware_compatibility != "none":
        level = settings.hardware_compatibility.upper()
        if not hasattr(trt.HardwareCompatibilityLevel, level):
            raise EngineError(f"TensorRT {trt.__version__} does not know --hardware-compatibility {level.lower()}")
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)


def _give_timing_cache(config: Any, content: bytes) -> None:
    cache = config.create_timing_cache(content)
    # A cache of another version or device, or a damaged one, is of no use but does no harm either.
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _take_timing_cache(config: Any) -> bytes:
    cache = config.get_timing_cache()
    return bytes(cache.serialize()) if cache is not None else b""


def _build(session: _Session, config: Any, progress: Progress, path: Path) -> bytes:
    with _watched(session.trt, config, progress) as watch:
        plan = session.builder.build_serialized_network(session.network, config)
    if watch.error is not None:
        raise watch.error
    if watch.cancelled:
        raise EngineError(f"{path}: the build was stopped; nothing was written")
    if plan is None:
        raise EngineError(build_failure(path, session.messages.errors))
    return bytes(plan)


@contextmanager
def _watched(trt: Any, config: Any, progress: Progress) -> Iterator[Watch]:
    watch = Watch(progress)
    monitor = make_monitor(trt, watch)
    config.progress_monitor = monitor
    try:
        yield watch
    finally:
        config.progress_monitor = None


def _last(texts: tuple[str, ...]) -> str:
    return readable(texts[-1]) if texts else "no reason given"
