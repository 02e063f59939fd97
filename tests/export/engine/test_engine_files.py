"""Engine files: written whole with their sidecar, reused while nothing changed, rebuilt for a stated reason."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest

from ce2p_export.tensorrt import BuildSettings, BuiltEngine, EngineError, build_engine_file, default_engine_path
from ce2p_export.tensorrt import exporter as exporter_module
from ce2p_export.tensorrt.plan_cache import PlanKey, reason_to_rebuild, timing_cache_path
from ce2p_runtime.base.files import file_sha256
from ce2p_runtime.model_files.engine_file import EngineSidecar, read_sidecar, sidecar_path
from ce2p_runtime.model_files.metadata import METADATA_KEY, ModelMetadata

INSPECTED = json.dumps(
    {
        "Layers": [
            {
                "Name": "conv1",
                "LayerType": "gemm",
                "Inputs": [{"Format/Datatype": "FP32"}],
                "Outputs": [{"Format/Datatype": "FP32"}],
            }
        ]
    }
)
Build = Callable[..., BuiltEngine]


@pytest.fixture
def machine(trt: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A machine with a GPU, but for the two calls that would use it; everything else is the real thing."""
    answers: dict[str, Any] = {"architecture": "sm_90", "timing": [], "suffix": b""}
    real = exporter_module.build_plan

    def spying(*arguments: Any, timing_cache: bytes, **options: Any) -> Any:
        answers["timing"].append(timing_cache)
        built = real(*arguments, timing_cache=timing_cache, **options)
        return dataclasses.replace(built, plan=built.plan + answers["suffix"])

    monkeypatch.setenv("CE2P_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(exporter_module.versions, "device_architecture", lambda: answers["architecture"])
    monkeypatch.setattr(exporter_module.layers, "inspect_plan", lambda *_, **__: INSPECTED)
    monkeypatch.setattr(exporter_module, "build_plan", spying)
    return answers


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "walk_fp32_97x97.onnx"
    path.write_bytes(tiny_model.read_bytes())
    return path


BODIES = BuildSettings(plugins=False)


def test_an_engine_with_everything_that_belongs_to_it(machine: dict[str, Any], trt: ModuleType, model: Path) -> None:
    notes: list[str] = []
    built = build_engine_file(model, BODIES, note=notes.append)
    assert built.path.name == f"walk_fp32_97x97_b1_sm90_trt{trt.__version__}.engine"
    assert notes == [f"building {built.path.name}: there is no engine yet"]
    sidecar = read_sidecar(built.path)
    assert sidecar == built.sidecar
    assert sidecar.plan_sha256 == file_sha256(built.path)
    assert sidecar.onnx_sha256 == file_sha256(model)
    assert (sidecar.tensorrt, sidecar.architecture, sidecar.precision) == (trt.__version__, "sm_90", "fp32")
    assert sidecar.metadata.num_classes == 20
    assert sidecar.plugins == ()
    assert sidecar.build["inspector"] == {"layers": 1, "outputs": {"fp32": 1}, "ours": []}
    assert len(built.network) > 50
    for name, digest in sidecar.kernels.items():
        assert file_sha256(built.path.with_name(name)) == digest
    assert not [path for path in model.parent.iterdir() if path.name.startswith(".")]


def test_an_engine_that_is_up_to_date_stays(machine: dict[str, Any], model: Path) -> None:
    first = build_engine_file(model, BODIES)
    written = first.path.stat().st_mtime_ns
    notes: list[str] = []
    again = build_engine_file(model, BODIES, note=notes.append)
    assert (again.reason, again.sidecar) == ("", first.sidecar)
    assert notes == [f"{first.path} is up to date"]
    assert first.path.stat().st_mtime_ns == written
    assert build_engine_file(model, BODIES, rebuild=True).reason == "asked for"


def test_it_is_built_again_for_a_stated_reason(machine: dict[str, Any], model: Path) -> None:
    path = build_engine_file(model, BODIES).path

    def reason(settings: BuildSettings = BODIES) -> str:
        return build_engine_file(model, settings, path).reason

    assert reason(dataclasses.replace(BODIES, optimization_level=2)) == "the settings changed (optimization_level)"
    machine["architecture"] = "sm_80"
    assert reason() == "the GPU architecture changed: sm_90 -> sm_80"
    changed = onnx.load(str(model))
    changed.doc_string = "changed"
    entry = next(entry for entry in changed.metadata_props if entry.key == METADATA_KEY)
    entry.value = json.dumps({**json.loads(entry.value), "digest": ""})  # on purpose, so it is no damage
    onnx.save(changed, str(model))
    assert reason() == "the ONNX file changed"
    path.write_bytes(path.read_bytes() + b"x")
    assert reason() == f"{path.name} is not the plan its sidecar describes"
    sidecar_path(path).unlink()
    assert "is not beside it" in reason()
    assert reason() == ""


def test_measurements_are_kept_for_the_next_build(machine: dict[str, Any], trt: ModuleType, model: Path) -> None:
    build_engine_file(model, BODIES)
    cache = timing_cache_path(trt.__version__, "sm_90", {})
    assert machine["timing"] == [b""]
    assert cache.stat().st_size > 0
    build_engine_file(model, BODIES, rebuild=True)
    assert machine["timing"][1]
    assert len({timing_cache_path("11.4", "sm_90", {"CE2PEdgeFusion": digest}) for digest in ("a", "b")}) == 2
    cache.write_bytes(b"damaged " * 20)
    assert build_engine_file(model, BODIES, rebuild=True).reason == "asked for"


def test_a_failure_leaves_what_was_there(machine: dict[str, Any], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build_engine_file(model, BODIES).path
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}

    def dies(*_: object, **__: object) -> str:
        raise EngineError("the new engine does not load")

    monkeypatch.setattr(exporter_module.layers, "inspect_plan", dies)
    with pytest.raises(EngineError, match="does not load"):
        build_engine_file(model, BODIES, rebuild=True)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()} == before
    with pytest.raises(EngineError, match="the build was stopped"):
        build_engine_file(model, BODIES, path.with_name("new.engine"), progress=lambda *_: False)
    assert not list(path.parent.glob("*new*"))


def test_a_death_between_sidecar_and_plan_is_noticed(
    machine: dict[str, Any], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: the new sidecar has its name, the new plan has not."""
    path = build_engine_file(model, BODIES).path
    old = file_sha256(path)
    real = Path.replace

    def dies(self: Path, target: Path) -> Path:
        if target == path:
            raise KeyboardInterrupt
        return real(self, target)

    machine["suffix"] = b"another plan"
    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        build_engine_file(model, BODIES, rebuild=True)
    monkeypatch.setattr(Path, "replace", real)
    assert file_sha256(path) == old
    assert read_sidecar(path).plan_sha256 != old
    assert build_engine_file(model, BODIES).reason == f"{path.name} is not the plan its sidecar describes"


def test_several_batches_in_the_name(model: Path) -> None:
    metadata = ModelMetadata.from_json(
        next(entry.value for entry in onnx.load(str(model)).metadata_props if entry.key == METADATA_KEY), "model"
    )
    path = default_engine_path(model, metadata, (1, 4, 16), "sm_120", "11.4.0.106")
    assert path == model.with_name("walk_fp32_97x97_b1-4-16_sm120_trt11.4.0.106.engine")


def key(**changes: Any) -> PlanKey:
    fields = {
        "onnx": "a",
        "kernels": {"CE2PEdgeFusion": "k"},
        "tensorrt": "11.4.0.106",
        "architecture": "sm_90",
        "precision": "fp16",
        "size": (473, 473),
        "batches": (1, 4),
        "settings": BuildSettings().to_dict(),
    }
    return PlanKey(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"onnx": "b"}, "the ONNX file changed"),
        ({"kernels": {"CE2PEdgeFusion": "l"}}, "our kernels changed (CE2PEdgeFusion)"),
        ({"kernels": {}}, "our kernels changed (CE2PEdgeFusion)"),
        ({"tensorrt": "11.5"}, "TensorRT's version changed: 11.4.0.106 -> 11.5"),
        ({"architecture": "sm_80"}, "the GPU architecture changed: sm_90 -> sm_80"),
        ({"precision": "int8"}, "the precision changed: fp16 -> int8"),
        ({"size": (384, 353)}, "the input size changed: 473x473 -> 384x353"),
        ({"batches": (1,)}, "the batch sizes changed: 1,4 -> 1"),
        ({"settings": BuildSettings(tf32=True).to_dict()}, "the settings changed (tf32)"),
        # The first in this order is named.
        ({"onnx": "b", "tensorrt": "11.5"}, "the ONNX file changed"),
    ],
)
def test_the_first_difference_is_the_reason(
    trt: ModuleType, model: Path, changes: dict[str, Any], reason: str | None
) -> None:
    metadata = ModelMetadata.from_json(
        next(entry.value for entry in onnx.load(str(model)).metadata_props if entry.key == METADATA_KEY), "model"
    )
    old = EngineSidecar(
        plan_sha256="p",
        onnx_sha256="a",
        tensorrt="11.4.0.106",
        architecture="sm_90",
        hardware_compatibility="none",
        version_compatible=False,
        precision="fp16",
        profiles=(),
        plugins=(),
        kernels={},
        metadata=metadata,
        build={"key": key().to_dict()},
    )
    assert reason_to_rebuild(old, key(**changes)) == reason
    assert reason_to_rebuild(None, key()) == "there is no engine yet"
    silent = dataclasses.replace(old, build={})
    assert reason_to_rebuild(silent, key()) == "its sidecar does not say what it was built from"
