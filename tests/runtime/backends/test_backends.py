"""Backends load what is ours, refuse what is not with one clear line, and never change device or precision silently."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from ce2p_runtime import BackendError, ModelFileError
from ce2p_runtime.backends import BACKENDS, open_backend
from ce2p_runtime.backends.compiled_memory import LIMIT_VARIABLE
from ce2p_runtime.model_files.metadata import METADATA_KEY


def edited(model: Path, path: Path, **changes: Any) -> Path:
    """A copy of `model` with fields of its metadata changed."""
    proto = onnx.load(str(model))
    entry = next(entry for entry in proto.metadata_props if entry.key == METADATA_KEY)
    entry.value = json.dumps({**json.loads(entry.value), **changes})
    onnx.save(proto, str(path))
    return path


@pytest.mark.parametrize("name", BACKENDS)
def test_backends_agree_and_state_their_device(tiny_model: Path, name: str) -> None:
    image = np.random.default_rng(0).standard_normal((1, 3, 97, 97), np.float32)
    reference = open_backend(tiny_model, "onnxruntime", "cpu").run(image)[0]
    backend = open_backend(tiny_model, name)
    assert (backend.name, backend.device, backend.batch) == (name, "cpu", 1)
    first = backend.run(image)[0]
    kept = first.copy()
    backend.run(np.zeros_like(image))
    np.testing.assert_array_equal(first, kept, err_msg="a result changed when the network ran again")
    assert np.linalg.norm(first - reference) / np.linalg.norm(reference) < 1e-4
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.run(image)


def test_cuda_asked_for_and_not_there_is_an_error(tiny_model: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine's ONNX Runtime has CUDA")
    with pytest.raises(BackendError, match="no CUDA provider"):
        open_backend(tiny_model, "onnxruntime", "cuda")


def test_a_cuda_session_that_fell_back_to_the_cpu_is_an_error(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime lists CUDA, fails to load it, and makes a CPU session without raising."""
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers, **more: real(path, options, providers=["CPUExecutionProvider"], **more),
    )
    with pytest.raises(BackendError, match="made a CPU session"):
        open_backend(tiny_model, "onnxruntime", "cuda:0")
    assert open_backend(tiny_model, "onnxruntime", "auto").device == "cpu"


@pytest.mark.parametrize(
    ("libraries", "asked"),
    [(["shared"], False), (["shared", "cuda"], True), (["tensorrt", "cuda"], True), ([], True)],
    ids=["CPU wheel", "GPU wheel", "others", "libraries elsewhere"],
)
def test_onnx_runtime_is_asked_about_cuda_unless_its_files_tell(
    tmp_path: Path, libraries: list[str], asked: bool
) -> None:
    package = tmp_path / "onnxruntime"
    (package / "capi").mkdir(parents=True)
    for name in libraries:
        (package / f"capi/libonnxruntime_providers_{name}.so").touch()
    (package / "__init__.py").write_text(
        "get_available_providers = lambda: ['CUDAExecutionProvider']\ndisable_telemetry_events = lambda: None\n"
    )
    code = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from ce2p_runtime.backends.onnxruntime_cuda import cuda_provider_is_there\n"
        "print(cuda_provider_is_there(), 'onnxruntime' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.stdout.split() == [str(asked), str(asked)], ended.stderr


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        ("tensorflow", "auto", "unknown backend"),
        ("onnxruntime", "gpu", "expected auto, cpu, cuda"),
        ("onnxruntime", "cuda:x", "expected auto, cpu, cuda"),
        ("onnxruntime", "cpu:1", "expected auto, cpu, cuda"),
        ("openvino", "cuda", "not among OpenVINO's"),
    ],
)
def test_unknown_names_are_refused(tiny_model: Path, backend: str, device: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        open_backend(tiny_model, backend, device)


@pytest.mark.parametrize("name", BACKENDS)
def test_damaged_and_foreign_files_get_one_clear_line(tiny_model: Path, tmp_path: Path, name: str) -> None:
    whole = tiny_model.read_bytes()
    stripped = onnx.load(str(tiny_model))
    del stripped.metadata_props[:]
    files = {
        "missing.onnx": (None, "no such file"),
        "empty.onnx": (b"", "empty"),
        "page.onnx": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "HTML page"),
        "pointer.onnx": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 267000000\n",
            "Git-LFS pointer",
        ),
        "cut.onnx": (whole[: len(whole) // 2], "again"),
        "weights.pth": (b"PK\x03\x04", "ce2p export"),
        "foreign.onnx": (stripped.SerializeToString(), "without ce2p metadata"),
    }
    for file, (content, message) in files.items():
        path = tmp_path / file
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelFileError, match=message) as caught:
            open_backend(path, name)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_metadata_that_does_not_fit_the_network_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    names, palette = [f"class {i}" for i in range(18)], [[0, 0, 0]] * 18
    wrong_classes = edited(tiny_model, tmp_path / "classes.onnx", class_names=names, palette=palette, flip_pairs=[])
    wrong_size = edited(tiny_model, tmp_path / "size.onnx", input_size=[473, 473])
    wrong_kind = edited(tiny_model, tmp_path / "kind.onnx", output_kind="labels")
    for path, message in ((wrong_classes, r"\[1, 18, h, w\]"), (wrong_size, "473"), (wrong_kind, "uint8")):
        with pytest.raises(ModelFileError, match=message):
            open_backend(path, "onnxruntime")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "schema 99"),
        ({"palette": [[0, 0, 0]]}, "palette"),
        ({"normalisation": {"colour_order": "bgr"}}, "lacks or garbles"),
        ({"input_size": "large"}, "lacks or garbles"),
    ],
)
def test_garbled_metadata_is_refused(tiny_model: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        open_backend(edited(tiny_model, tmp_path / "edited.onnx", **changes), "onnxruntime")


def test_openvino_refuses_a_precision_it_does_not_know_and_one_it_would_not_keep(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelFileError, match="precision is 'fp4', expected fp32 or"):
        open_backend(edited(tiny_model, tmp_path / "fp4.onnx", precision="fp4"), "openvino")
    real = openvino.Core.compile_model

    def ignoring_the_hint(self: Any, model: Any, device: str, properties: dict[str, Any]) -> Any:
        return real(self, model, device, properties | {"INFERENCE_PRECISION_HINT": "undefined"})

    monkeypatch.setenv(LIMIT_VARIABLE, "0")  # nothing compiled earlier
    monkeypatch.setattr(openvino.Core, "compile_model", ignoring_the_hint)
    with pytest.raises(BackendError, match="instead of f32"):
        open_backend(tiny_model, "openvino")


def test_openvino_backends_may_be_closed_in_any_order(tiny_model: Path) -> None:
    """Each core of OpenVINO hands on the thread's signal stack; with two, the next signal killed the process."""
    code = (
        "import os, signal, sys\n"
        "from ce2p_runtime.backends import open_backend\n"
        "signal.signal(signal.SIGUSR1, lambda *ignored: print('heard'))\n"
        "one, two = (open_backend(sys.argv[1], 'openvino', 'cpu') for _ in range(2))\n"
        "one.close(); del one\n"
        "two.close(); del two\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tiny_model)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "heard\n"), ended.stderr
