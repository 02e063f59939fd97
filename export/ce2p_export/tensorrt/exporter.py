"""From an ONNX file of ours to an engine beside it, with its sidecar and kernels; or the finding that it is up to date.

Everything that needs no GPU comes first: reading the file, the settings, TensorRT's version, the kernels' compilation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ce2p_runtime.backends.tensorrt_log import process_log
from ce2p_runtime.base.files import atomic_path, file_sha256
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.errors import BackendError
from ce2p_runtime.model_files.engine_file import EngineSidecar, sidecar_path
from ce2p_runtime.model_files.metadata import ModelMetadata

from . import layers, versions
from .builder import BuiltPlan, build_plan
from .messages import collecting
from .plan_cache import PlanKey, keep_timing_cache, read_timing_cache, reusable, timing_cache_path
from .plugins import compile_kernels, kernel_hashes, plugin_sources, register_plugins
from .preparation import check_batches, check_classes, load_onnx, metadata_of
from .settings import BuildSettings


@dataclass(frozen=True)
class BuiltEngine:
    """An engine file that is there now, and the account of how it came about."""

    path: Path
    sidecar: EngineSidecar
    reason: str
    """Why it was built; empty when it was up to date and stayed."""
    network: tuple[layers.NetworkLayer, ...] = ()
    """As parsed; empty when it stayed."""
    layers: tuple[layers.EngineLayer, ...] = ()
    """As they run; empty when it stayed."""
    float32: tuple[str, ...] = ()
    """Layers that compute in float32 in an engine of lower precision."""
    warnings: tuple[str, ...] = ()


def default_engine_path(
    onnx_path: Path, metadata: ModelMetadata, batches: tuple[int, ...], architecture: str, tensorrt: str
) -> Path:
    """`<stem>_<precision>_<H>x<W>_b<batch>_sm<arch>_trt<version>.engine` beside the ONNX file."""
    height, width = metadata.input_size
    middle = f"_{metadata.precision}_{height}x{width}"
    stem = onnx_path.stem.removesuffix(middle)
    batch = "-".join(map(str, batches))
    name = f"{stem}{middle}_b{batch}_{architecture.replace('_', '')}_trt{tensorrt}.engine"
    return onnx_path.with_name(name)


def build_engine_file(
    onnx_path: Path,
    settings: BuildSettings,
    path: Path | None = None,
    *,
    rebuild: bool = False,
    progress: Progress = without_progress,
    note: Callable[[str], None] = lambda text: None,
) -> BuiltEngine:
    """Build the engine of an ONNX file of ours on this machine's GPU, unless the one that is there is up to date.

    Writes kernels, sidecar and plan, each whole and in this order: a plan never appears before the sidecar that names
    its hash. `note` is told what was decided and why. Raises EngineError, after which nothing new is there.
    """
    model = load_onnx(onnx_path)
    metadata = metadata_of(model, onnx_path)
    batches = check_batches(model, settings.batches, onnx_path)
    trt = versions.load_tensorrt()
    sources = plugin_sources(model) if settings.plugins else {}
    del model  # hundreds of megabytes
    if sources:
        check_classes(metadata, sources)
        note("compiling our kernels ...")
        compile_kernels(sources)
        register_plugins()
    architecture = versions.device_architecture()
    key = PlanKey(
        onnx=file_sha256(onnx_path),
        kernels=kernel_hashes(sources),
        tensorrt=trt.__version__,
        architecture=architecture,
        precision=metadata.precision,
        size=metadata.input_size,
        batches=batches,
        settings=_deciding(settings),
    )
    target = path or default_engine_path(onnx_path, metadata, batches, architecture, trt.__version__)
    present, reason = reusable(target, key)
    if present is not None and not rebuild:
        note(f"{target} is up to date")
        return BuiltEngine(target, present, "")
    reason = reason or "asked for"
    note(f"building {target.name}: {reason}")
    cache = timing_cache_path(trt.__version__, architecture, key.kernels)
    built = build_plan(trt, onnx_path, settings, timing_cache=read_timing_cache(cache), progress=progress)
    keep_timing_cache(cache, built.timing_cache)
    running = _inspect(trt, built, settings)
    sidecar = _write(target, built, metadata, key=key, running=running, note=note)
    float32 = layers.silent_float32(running, metadata.precision)
    return BuiltEngine(
        path=target,
        sidecar=sidecar,
        reason=reason,
        network=built.layers,
        layers=running,
        float32=float32,
        warnings=built.warnings,
    )


def _deciding(settings: BuildSettings) -> dict[str, object]:
    """What of the settings decides about the plan, beside the batches."""
    return {name: value for name, value in settings.to_dict().items() if name != "batches"}


def _inspect(trt: ModuleType, built: BuiltPlan, settings: BuildSettings) -> tuple[layers.EngineLayer, ...]:
    with collecting():  # what it warns about, the build has said before
        text = layers.inspect_plan(trt, built.plan, process_log(trt), host_code=settings.version_compatible)
    return layers.engine_layers(text)


def _write(
    target: Path,
    built: BuiltPlan,
    metadata: ModelMetadata,
    key: PlanKey,
    running: tuple[layers.EngineLayer, ...],
    note: Callable[[str], None],
) -> EngineSidecar:
    # The block inside ends first: the sidecar takes its name before the plan does. A death in between leaves a sidecar
    # that names another hash than the old plan has, which everybody who loads it notices.
    with atomic_path(target) as plan:
        plan.write_bytes(built.plan)
        sidecar = EngineSidecar(
            plan_sha256=hashlib.sha256(built.plan).hexdigest(),
            onnx_sha256=key.onnx,
            tensorrt=key.tensorrt,
            architecture=key.architecture,
            hardware_compatibility=str(key.settings["hardware_compatibility"]),
            version_compatible=bool(key.settings["version_compatible"]),
            precision=metadata.precision,
            profiles=built.profiles,
            plugins=tuple(built.plugins),
            kernels=_runtime_kernels(target, metadata, built, note),
            metadata=metadata,
            build={
                "key": key.to_dict(),
                "seconds": round(built.seconds, 1),
                "inspector": layers.summary(running),
                "warnings": list(built.warnings),
            },
        )
        with atomic_path(sidecar_path(target)) as beside:
            beside.write_text(sidecar.to_json())
    return sidecar


def _runtime_kernels(
    target: Path, metadata: ModelMetadata, built: BuiltPlan, note: Callable[[str], None]
) -> dict[str, str]:
    """PTX of the kernels before and after the network, so that the machine that runs it needs no compiler."""
    from ce2p_runtime.cuda.kernels import write_kernels

    input_half, output_half = ("HALF" in types.values() for types in (built.inputs, built.outputs))
    try:
        return write_kernels(target.parent, target.stem, metadata, input_half, output_half)
    except BackendError as error:
        # --no-plugins is for machines without a compiler, too.
        note(f"no kernels beside the engine, so the machine that runs it must compile them: {error}")
        return {}
