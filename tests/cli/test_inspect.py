"""`ce2p inspect` of exported files: without torch or an ONNX library, with all that somebody needs to run them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from ce2p.api.inspect import inspect
from ce2p.cli.inspect import show
from ce2p_export import GraphOptions, export_onnx, open_model
from ce2p_runtime import ModelFileError
from ce2p_runtime.base.files import file_sha256
from ce2p_runtime.model_files.engine_file import EngineSidecar, Profile, sidecar_path
from ce2p_runtime.model_files.metadata import METADATA_KEY, ModelMetadata
from ce2p_runtime.model_files.onnx_file import onnx_properties
from tests.export.reading import read_onnx
from tests.hostile.model_files import small_model, with_metadata


@pytest.mark.parametrize("suffix", ["onnx", "engine"])
def test_inspecting_needs_the_runtime_alone(tiny_model: Path, tmp_path: Path, suffix: str) -> None:
    file = tiny_model if suffix == "onnx" else engine_of(tiny_model, tmp_path / "x.engine")
    blocked = "{'torch', 'torchvision', 'safetensors', 'onnx', 'onnxruntime', 'openvino', 'ce2p_export'}"
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {blocked}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"sys.argv = ['ce2p', 'inspect', {str(file)!r}, '--json']\n"
        "from ce2p.__main__ import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["inputs"] == {"image": f"FLOAT [{'1' if suffix == 'onnx' else 'batch'}, 3, 97, 97]"}
    assert "parsing: FLOAT" in facts["result"]


def engine_of(model: Path, path: Path) -> Path:
    path.write_bytes(b"a plan")
    metadata = ModelMetadata.from_json(onnx_properties(model)[METADATA_KEY], str(model))
    sidecar = EngineSidecar(
        plan_sha256=file_sha256(path),
        onnx_sha256=file_sha256(model),
        tensorrt="11.4.0.106",
        architecture="sm_90",
        hardware_compatibility="none",
        version_compatible=False,
        precision="fp32",
        profiles=(Profile(1, 1, 1),),
        plugins=(),
        kernels={},
        metadata=metadata,
    )
    sidecar_path(path).write_text(sidecar.to_json())
    return path


def test_the_contract_of_an_export(tiny_model: Path, tmp_path: Path) -> None:
    facts = inspect(tiny_model)
    assert facts["whole"] == "yes"
    assert facts["feed"] == (
        "image: FLOAT [1, 3, 97, 97], the frame warped to 97x97, aspect kept (factor (S - 1) / extent), "
        "centred on black (bilinear), (pixel * 0.00392157 - mean) / std in the order BGR, mean (0.406, 0.456, 0.485), "
        "std (0.225, 0.224, 0.229)"
    )
    assert facts["result"] == (
        "parsing: FLOAT [1, 20, 25, 25], logits; upsample to 97x97 (bilinear, align_corners), "
        "warp back with the inverse matrix, argmax"
    )
    told = read_onnx(tiny_model)
    assert (facts["inputs"], facts["outputs"], facts["parameters"], facts["operators"]) == (
        told.inputs,
        told.outputs,
        told.parameters,
        told.operators,
    )
    assert facts["gflops"] == round(told.flops / 1e9, 2)
    engine = inspect(engine_of(tiny_model, tmp_path / "x.engine"))
    assert engine["outputs"] == {"parsing": "FLOAT [batch, 20, 25, 25]"}
    assert engine["feed"].replace("[batch", "[1") == facts["feed"]


def test_engines_have_the_ports_that_exports_of_each_kind_have(tmp_path: Path) -> None:
    """An engine's tensors are named by its TensorRT alone, so what is said of them must be what exports hold."""
    source = open_model("lip-r18-os16", family="ssseg", random=True)
    options = GraphOptions((97, 81), batch=None, input_kind="uint8", output_kind="labels", edge=True)
    made = inspect(export_onnx(source, options, tmp_path / "x.onnx").path)
    engine = inspect(engine_of(tmp_path / "x.onnx", tmp_path / "x.engine"))
    assert (made["inputs"], made["outputs"]) == (engine["inputs"], engine["outputs"])
    assert made["inputs"] == {"pixels": "UINT8 [batch, 97, 81, 3]"}
    assert made["outputs"] == {"labels": "UINT8 [batch, 97, 81]", "edge": "FLOAT [batch, 2, 25, 21]"}
    assert "the graph normalises" in made["feed"]


def test_files_of_before_are_said_to_be_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small_model(tmp_path / "x.onnx", digest=False)
    show(path, inspect(path))
    assert "exported before files carried a digest" in capsys.readouterr().out


def test_a_damaged_file_is_said_to_be_damaged(tiny_model: Path, tmp_path: Path) -> None:
    proto = onnx.load(str(tiny_model))
    tensor = proto.graph.initializer[0]
    values = np.frombuffer(tensor.raw_data, np.float32).copy()
    values[0] += 1
    tensor.raw_data = values.tobytes()
    onnx.save(proto, str(tmp_path / "x.onnx"))
    with pytest.raises(ModelFileError, match=r"x\.onnx: is not as it was exported"):
        inspect(tmp_path / "x.onnx")


@pytest.mark.parametrize("garbage", [5, "x", [], [1], [{}], {"rows": []}, {"rows": [{"pixel_agreement": "x"}]}, None])
def test_provenance_of_another_form_is_shown_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], garbage: object
) -> None:
    path = small_model(tmp_path / "x.onnx", digest=False)
    document = json.loads(onnx_properties(path)[METADATA_KEY])
    document["extra"] |= {"folds": garbage, "parity": garbage, "kind": "a fraud", "family": "impostor"}
    path.write_bytes(with_metadata(path.read_bytes(), document))
    show(path, inspect(path))
    shown = capsys.readouterr().out
    assert "exported ONNX model" in shown
    assert "fraud" not in shown
    assert "impostor" not in shown
