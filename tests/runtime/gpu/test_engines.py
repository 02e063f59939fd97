"""Engines that cannot be used: one line each, that says what is the matter and what to do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ce2p_runtime import BackendError, HumanParser, ModelFileError
from ce2p_runtime.backends import open_backend
from ce2p_runtime.cuda import kernels
from ce2p_runtime.cuda.kernels import write_kernels
from ce2p_runtime.errors import CE2PRuntimeError
from ce2p_runtime.model_files.engine_file import read_sidecar, sidecar_path
from ce2p_runtime.ops import FUSED_OPS
from tests.cuda_standin import GpuStandIn, Machine, gpu_stand_in
from tests.cuda_standin.fake_networks import make_engine

FRAME = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


@pytest.fixture
def engine(networks: dict[str, Path], tmp_path: Path) -> Path:
    return make_engine(networks["schp"], tmp_path / "x.engine")


def refused(path: Path, kind: type[CE2PRuntimeError], message: str, **arguments: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        open_backend(path, **arguments)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def edited(path: Path, **changes: object) -> None:
    sidecar = sidecar_path(path)
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **changes}))


def swapped_metadata(path: Path) -> None:
    metadata = json.loads(sidecar_path(path).read_text())["metadata"]
    edited(path, metadata={**metadata, "input_size": [97, 97]})


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (lambda path: path.unlink(), ModelFileError, "no such file, expected an engine"),
        (lambda path: sidecar_path(path).unlink(), ModelFileError, "copy both files"),
        (lambda path: sidecar_path(path).write_text("{"), ModelFileError, "not readable"),
        (truncated, ModelFileError, "is not the file that its .json was written for.*--trust-engine"),
        (lambda path: edited(path, tensorrt="10.9.0.34"), BackendError, "10.9.0.34, installed is 11.4.0.106.*pip"),
        (lambda path: edited(path, architecture="sm_75"), BackendError, "sm_75, cuda:0 .* is sm_90; build it"),
        (lambda path: edited(path, architecture="none"), BackendError, "built without a GPU"),
        (swapped_metadata, ModelFileError, "its metadata says"),
    ],
)
def test_a_bad_engine_gets_one_line(
    gpu: GpuStandIn, engine: Path, damage: Callable[[Path], None], kind: type[CE2PRuntimeError], message: str
) -> None:
    damage(engine)
    refused(engine, kind, message)


def test_trust_loads_another_file_but_not_a_damaged_one(
    gpu: GpuStandIn, networks: dict[str, Path], tmp_path: Path, engine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = sidecar_path(engine).read_text()
    make_engine(networks["ce2p"], engine)
    sidecar_path(engine).write_text(kept)
    refused(engine, ModelFileError, "its .json was written for")
    open_backend(engine, trust=True).close()
    truncated(engine)
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(BackendError, match=r"can load; build it again.*Serialization") as e,
    ):
        open_backend(engine, trust=True)
    assert "\n" not in str(e.value)


def test_compatible_engines_load_where_others_do_not(networks: dict[str, Path], tmp_path: Path) -> None:
    changes = {"hardware_compatibility": "ampere_plus", "architecture": "sm_80"}
    engine = make_engine(
        networks["schp"], tmp_path / "x.engine", tensorrt="10.9.0.34", version_compatible=True, **changes
    )
    for capability, fits in (((8, 6), True), ((12, 0), True), ((7, 5), False)):
        with gpu_stand_in(Machine(capability=capability)):
            if fits:
                open_backend(engine).close()
            else:
                refused(engine, BackendError, "built for sm_80, cuda:0 .* is sm_75")
    with gpu_stand_in() as gpu:
        gpu.use_tensorrt("10.8.0.43")
        refused(engine, BackendError, "installed is 10.8.0.43")


def test_engines_and_models_are_told_apart(gpu: GpuStandIn, networks: dict[str, Path], engine: Path) -> None:
    refused(engine, ModelFileError, "use --backend tensorrt", backend="onnxruntime")
    refused(engine, ModelFileError, "use --backend tensorrt", backend="openvino")
    refused(engine, ModelFileError, "use --backend tensorrt", backend="tensorrt-rtx")
    refused(networks["schp"], ModelFileError, "--format engine.*--backend onnxruntime", backend="tensorrt")
    for device in ("cpu", "cuda:x", "auto:1"):
        with pytest.raises(BackendError, match="expected cuda or cuda:N"):
            open_backend(engine, device=device)
    with pytest.raises(BackendError, match="cuda:3 asked for, the last GPU here is cuda:0"):
        open_backend(engine, device="cuda:3")


def test_without_tensorrt_the_cure_names_the_version(gpu: GpuStandIn, engine: Path) -> None:
    gpu.without("tensorrt")
    refused(engine, BackendError, r"needs TensorRT.*pip install tensorrt==11.4.0.106")


def with_kernels(networks: dict[str, Path], folder: Path) -> Path:
    plain = make_engine(networks["schp"], folder / "x.engine")
    written = write_kernels(folder, "x", read_sidecar(plain).metadata, input_half=False, output_half=False)
    assert set(written) == {f"x.{name}.ptx" for name, op in FUSED_OPS.items() if op.around_network}
    return make_engine(networks["schp"], plain, kernels=written)


def test_kernels_beside_the_engine_need_no_compiler(
    gpu: GpuStandIn, networks: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = with_kernels(networks, tmp_path)
    with HumanParser(networks["schp"], device="cpu") as cpu:
        expected = cpu(FRAME).labels

    def no_compiler(source: object) -> bytes:
        raise BackendError("no CUDA compiler")

    monkeypatch.setattr(kernels, "compile_ptx", no_compiler)
    with HumanParser(engine) as parser:
        assert "kernels from beside the engine" in str(parser)
        assert (parser(FRAME).labels == expected).mean() > 0.99  # noise, see test_pipeline.AGREEMENT
    edited(engine, kernels={})
    with pytest.raises(BackendError, match="no CUDA compiler"):
        HumanParser(engine)


def test_kernels_beside_the_engine_must_be_its_own(
    gpu: GpuStandIn, networks: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = with_kernels(networks, tmp_path)
    ptx = tmp_path / "x.label_map.ptx"
    whole, hashes = ptx.read_bytes(), json.loads(sidecar_path(engine).read_text())["kernels"]
    ptx.write_bytes(whole + b"\n")
    with pytest.raises(ModelFileError, match=r"x\.label_map\.ptx: is not the file its engine was exported with"):
        HumanParser(engine)
    ptx.unlink()
    with pytest.raises(ModelFileError, match=r"x\.label_map\.ptx: kernels of this engine cannot be read"):
        HumanParser(engine)
    edited(engine, kernels={"../x.label_map.ptx": "0"})
    with pytest.raises(ModelFileError, match="another folder"):
        HumanParser(engine)
    # Kernels of another release: compiled here, and that is said.
    edited(engine, kernels={"x.warp_normalize.ptx": hashes["x.warp_normalize.ptx"]})
    with HumanParser(engine) as parser:
        assert "kernels compiled here" in str(parser)
    assert "of another ce2p version" in caplog.text
