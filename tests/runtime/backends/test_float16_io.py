"""Files whose inputs and logits are float16: the same labels, wherever a frame goes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ce2p_runtime import HumanParser, ModelFileError, ModelMetadata
from ce2p_runtime.backends import BACKENDS, open_backend
from ce2p_runtime.backends.averaging import AveragedBackend
from ce2p_runtime.model_files.metadata import METADATA_KEY
from ce2p_runtime.people import PeopleParser


@pytest.fixture(scope="module")
def half_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_model` between two casts."""
    model = onnx.load(str(tiny_model))
    (source,), (logits,) = model.graph.input, model.graph.output
    for port, attribute in ((source, "input"), (logits, "output")):
        for node in model.graph.node:
            names = getattr(node, attribute)
            names[:] = [f"{name}_float" if name == port.name else name for name in names]
        port.type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.node.insert(0, helper.make_node("Cast", [source.name], [f"{source.name}_float"], to=TensorProto.FLOAT))
    model.graph.node.append(helper.make_node("Cast", [f"{logits.name}_float"], [logits.name], to=TensorProto.FLOAT16))
    entry = next(entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    entry.value = json.dumps({**json.loads(entry.value), "io": "float16", "digest": ""})
    path = tmp_path_factory.mktemp("half") / "half.onnx"
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("name", BACKENDS)
def test_labels_are_those_of_float32(tiny_model: Path, half_model: Path, name: str) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    with HumanParser(tiny_model, backend="onnxruntime", device="cpu") as whole:
        expected = whole(frame).labels
        averaged = HumanParser.on(AveragedBackend(whole.backend), name="averaged")(frame).labels
    with HumanParser(half_model, backend=name, device="cpu") as half:
        assert half.metadata.io == "float16"
        assert (half(frame).labels == expected).mean() > 0.99
        flipped = HumanParser.on(AveragedBackend(half.backend), name="averaged")(frame).labels
        assert (flipped == averaged).mean() > 0.99
        people = PeopleParser(half.backend)(frame, []).labels
        assert (people == expected).mean() > 0.99


@pytest.mark.parametrize("name", BACKENDS)
def test_averages_are_taken_in_float32(half_model: Path, name: str) -> None:
    image = np.random.default_rng(0).standard_normal((1, 3, 97, 97), np.float32).astype(np.float16)
    backend = open_backend(half_model, name, "cpu")
    one, other = backend.run(image)[0], backend.run(np.ascontiguousarray(image[..., ::-1]))[0]
    assert one.dtype == other.dtype == np.float16
    averaged = AveragedBackend(backend)
    pairs = backend.metadata.flip_pairs
    order = list(range(backend.metadata.num_classes))
    for left, right in pairs:
        order[left], order[right] = right, left
    expected = (one.astype(np.float32) + other.astype(np.float32)[:, order, :, ::-1]) / 2
    found = averaged.run(image)[0]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_the_type_is_float32_unless_the_file_says_otherwise(tiny_model: Path) -> None:
    metadata = open_backend(tiny_model, "onnxruntime", "cpu").metadata
    fields = json.loads(metadata.to_json())
    assert fields.pop("io") == metadata.io == "float32"
    assert ModelMetadata.from_json(json.dumps(fields), "old.onnx") == metadata
    assert ModelMetadata.from_json(json.dumps({**fields, "io": "float16"}), "x").io == "float16"
    with pytest.raises(ModelFileError, match="io is 'bfloat16', expected float32 or float16"):
        ModelMetadata.from_json(json.dumps({**fields, "io": "bfloat16"}), "x.onnx")
