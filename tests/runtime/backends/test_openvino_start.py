"""OpenVINO's second start loads what the first one compiled: the same results, nothing else loaded, damage mended."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from numpy.typing import NDArray
from onnx import inliner
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

import ce2p_runtime.backends.openvino as backend_module
from ce2p_runtime import HumanParser
from ce2p_runtime.backends import open_backend, openvino_model
from ce2p_runtime.backends.compiled_memory import LIMIT_VARIABLE
from ce2p_runtime.backends.openvino_pairs import drop_separating_pairs
from ce2p_runtime.base.cache import CACHE_VARIABLE
from ce2p_runtime.model_files.metadata import METADATA_KEY
from tests.runtime.handmade import SIZE, write_network

IMAGE = np.random.default_rng(5).standard_normal((1, 3, *SIZE), np.float32)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    return tmp_path / "cache/compiled"


class _Noise(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self._left = iter([{"input": IMAGE}])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._left, None)


def network(folder: Path, precision: str) -> Path:
    """One whose arithmetic OpenVINO does in this precision, where the processor can."""
    plain = write_network(folder / f"{precision}.onnx", precision=precision)
    if precision != "int8":
        return plain
    entry = onnx.load(str(plain)).metadata_props[0].value
    quantize_static(plain, plain, _Noise(), activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    model = onnx.load(str(plain))
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=entry)
    onnx.save(model, str(plain))
    return plain


def result(path: Path, *, keep: bool = True) -> NDArray[np.float32]:
    backend = open_backend(path, "openvino", keep=keep)
    found: NDArray[np.float32] = backend.run(IMAGE)[0]
    backend.close()
    return found


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_what_was_kept_computes_bit_for_bit_the_same(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    path = network(tmp_path, precision)
    compiled = result(path)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(openvino.Core, "compile_model", lambda *given: pytest.fail("compiled, although it was kept"))
    np.testing.assert_array_equal(result(path), compiled)


def test_an_exported_network_labels_frames_the_same_from_the_cache(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [np.random.default_rng(n).integers(0, 256, (60 + n, 50, 3), np.uint8) for n in range(3)]
    with HumanParser(tiny_model, backend="openvino") as parser:
        compiled = [parser(frame).labels for frame in frames]
    monkeypatch.setattr(openvino.Core, "compile_model", lambda *given: pytest.fail("compiled, although it was kept"))
    with HumanParser(tiny_model, backend="openvino") as parser:
        for frame, labels in zip(frames, compiled, strict=True):
            np.testing.assert_array_equal(parser(frame).labels, labels)


@pytest.mark.parametrize("damage", ["cut", "bit", "zeros", "empty", "foreign"])
def test_damage_is_compiled_again_with_one_word_and_the_same_results(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = write_network(tmp_path / "handmade.onnx")
    expected = result(path)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    line, _, content = whole.partition(b"\n")
    damaged = {
        "cut": whole[:middle],
        "bit": whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :],
        "zeros": line + b"\n" + bytes(len(content)),
        "empty": b"",
        "foreign": b"\x7fELF" + whole,
    }
    file.write_bytes(damaged[damage])
    np.testing.assert_array_equal(result(path), expected)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "compiling again" in record.getMessage()
    assert file.read_bytes().partition(b"\n")[0] == line or len(file.read_bytes()) > len(line)
    caplog.clear()
    np.testing.assert_array_equal(result(path), expected)
    assert caplog.records == []


def test_what_the_library_itself_refuses_is_compiled_again(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whole by its digest, and yet nothing that OpenVINO reads: as if it had changed its mind about its own files."""
    path = write_network(tmp_path / "handmade.onnx")
    expected = result(path)
    (file,) = folder.iterdir()
    content = np.random.default_rng(0).bytes(5000)
    head = json.loads(file.read_bytes().partition(b"\n")[0])
    head |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    file.write_bytes(json.dumps(head).encode() + b"\n" + content)
    np.testing.assert_array_equal(result(path), expected)
    assert [record.getMessage().count("compiling again") for record in caplog.records] == [1]


def test_another_network_and_other_settings_are_compiled_for_themselves(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_network(tmp_path / "handmade.onnx")
    with monkeypatch.context() as patch:
        patch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        result(path)
    first = result(path)
    open_backend(path, "openvino", threads=1).close()
    assert len(list(folder.iterdir())) == 3
    model = onnx.load(str(path))
    state = path.stat()
    weights = bytearray(model.graph.initializer[0].raw_data)
    weights[3] ^= 0x80  # the sign of the first one
    model.graph.initializer[0].raw_data = bytes(weights)
    onnx.save(model, str(path))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # as long as it was, and as old
    assert not np.array_equal(result(path), first)
    assert len(list(folder.iterdir())) == 4


def test_a_network_that_is_not_to_be_kept_is_not(tmp_path: Path, folder: Path) -> None:
    path = write_network(tmp_path / "handmade.onnx")
    result(path, keep=False)
    assert not folder.exists()


def test_compiling_is_said_where_it_takes_more_than_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = write_network(tmp_path / "handmade.onnx")
    result(path)
    assert caplog.records == [], "a small one"
    monkeypatch.setattr(backend_module, "_SLOW", 0)
    result(path)
    assert caplog.records == [], "loaded from the cache"
    open_backend(path, "openvino", threads=1, keep=False).close()
    assert caplog.records == [], "one of many that others speak of"
    open_backend(path, "openvino", threads=1).close()
    assert [record.getMessage() for record in caplog.records] == [
        "handmade.onnx: compiling with OpenVINO once for this machine, which takes some seconds; kept for the next time"
    ]


def test_a_remembered_start_loads_one_library_and_no_onnx(tmp_path: Path) -> None:
    path = write_network(tmp_path / "handmade.onnx")
    result(path)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ce2p_runtime.backends import open_backend\n"
        "from ce2p_runtime.backends.choice import options_for\n"
        "from ce2p_runtime.backends.choice_memory import BackendChoice, choice_key, remember\n"
        "path, chosen = Path(sys.argv[1]), sys.argv[2]\n"
        "options = options_for(['onnxruntime', 'openvino'], None)\n"
        "option = next(option for option in options if option.backend == chosen)\n"
        "choice = BackendChoice(option, {str(option): 1e-9}, {}, '2026-01-31')\n"
        "remember(choice_key(path, options), 'x', choice)\n"
        "assert not {'onnx', 'onnxruntime', 'openvino'} & sys.modules.keys()\n"
        "backend = open_backend(path)\n"
        "assert backend.choice.remembered and backend.name == chosen\n"
        "print(*sorted({'onnx', 'onnxruntime', 'openvino'} & sys.modules.keys()))\n"
    )
    for name in ("onnxruntime", "openvino"):
        command = [sys.executable, "-c", code, str(path), name]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout) == (0, f"{name}\n"), ended.stderr


@pytest.mark.parametrize("large", [0, 1 << 14, 1 << 40], ids=["all weights aside", "as usual", "none"])
def test_the_model_is_what_onnx_would_make_of_it(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, large: int) -> None:
    plain = onnx.load(str(tiny_model))
    assert plain.functions
    plain = inliner.inline_local_functions(plain)
    drop_separating_pairs(plain)
    monkeypatch.setattr(openvino_model, "_LARGE", large)
    found = onnx.load_from_string(openvino_model.openvino_model(tiny_model))
    stored = [{tensor.name: tensor for tensor in model.graph.initializer} for model in (plain, found)]
    assert stored[0] == stored[1]
    assert len(found.graph.initializer) == len(stored[1])
    for model in (plain, found):
        del model.graph.initializer[:]
    assert found == plain
