"""Exported models from strangers: graphs that lie or ask for too much, metadata of wrong types, damaged weights."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ce2p_runtime import HumanParser, ModelFileError
from ce2p_runtime.backends import BACKENDS
from ce2p_runtime.base.files import file_sha256
from ce2p_runtime.model_files.engine_file import EngineSidecar, Profile, read_sidecar, sidecar_path
from ce2p_runtime.model_files.metadata import ModelMetadata
from ce2p_runtime.model_files.onnx_file import onnx_digest, onnx_properties
from tests.hostile.isolated import run_isolated
from tests.hostile.model_files import HOSTILE, METADATA, model, small_model, with_metadata

FRAME = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


def opened(case: tuple[str, str]) -> str:
    """Parse one frame with a hostile file on a backend."""
    name, backend = case
    made = HOSTILE[name][0]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.onnx"
        path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        with HumanParser(path, backend=backend, device="cpu", threads=1) as parser:
            parser(FRAME)
    return "parsed"


def test_graphs_that_lie_are_refused_at_once_and_within_little_memory() -> None:
    cases = [(name, backend) for name in HOSTILE for backend in BACKENDS]
    outcomes = run_isolated(opened, cases)
    assert len(outcomes) == len(cases)
    for outcome in outcomes:
        name = outcome.case[0]
        assert outcome.kind == "refused", (outcome.case, outcome.kind, outcome.value)
        assert re.search(HOSTILE[name][1], outcome.value), (outcome.case, outcome.value)
        assert "\n" not in outcome.value
        assert outcome.value.startswith("/"), "the message names the file"
        assert outcome.peak < 2**30, (outcome.case, outcome.peak)


@pytest.mark.parametrize("backend", BACKENDS)
def test_honest_small_files_of_today_and_before_parse(tmp_path: Path, backend: str) -> None:
    labels = []
    for digest in (True, False):
        path = small_model(tmp_path / f"{digest}.onnx", digest=digest)
        with HumanParser(path, backend=backend, device="cpu") as parser:
            labels.append(parser(FRAME).labels)
            assert bool(parser.metadata.digest) is digest
    np.testing.assert_array_equal(*labels)
    assert len(np.unique(labels[0])) > 1


def test_every_flipped_bit_of_an_exported_files_weights_is_noticed(tiny_model: Path, tmp_path: Path) -> None:
    whole = bytearray(tiny_model.read_bytes())
    assert onnx_digest(tiny_model) == ModelMetadata.from_json(onnx_properties(tiny_model)["ce2p"], "x").digest
    weights = max(onnx.load(str(tiny_model)).graph.initializer, key=lambda tensor: len(tensor.raw_data)).raw_data
    start = whole.index(weights)
    path = tmp_path / "flipped.onnx"
    for position in (start, start + len(weights) // 2 + 1, start + len(weights) - 1):
        whole[position] ^= 1
        path.write_bytes(whole)
        whole[position] ^= 1
        for backend in BACKENDS:
            with pytest.raises(ModelFileError, match="not as it was exported"):
                HumanParser(path, backend=backend, device="cpu")


HOSTILE_FIELDS: list[tuple[str, Any, str]] = [
    ("class_names", ["Background", "\ud800"], "surrogates"),
    ("class_names", ["Background", "a\x1b[31mb", "c", "d"], r"class_names\[1\]"),
    ("class_names", ["Background", "a\nb", "c", "d"], r"class_names\[1\]"),
    ("class_names", ["Background", "a\u202eb", "c", "d"], r"class_names\[1\]"),
    ("class_names", ["Background", "", "c", "d"], r"class_names\[1\]"),
    ("class_names", "abcd", "class_names is 'abcd'"),
    ("class_names", ["x"], "1 class names with 4 palette"),
    ("class_names", ["x"] * 257, "at most 256"),
    ("palette", [[0, 0, 0]] * 3 + [[0, 0, -5]], r"palette\[3\] is \[0, 0, -5\], expected 3 whole numbers of 0 to 255"),
    ("palette", [[0, 0, 0]] * 3 + [[0, 0, 300]], "0 to 255"),
    ("palette", [[0, 0, 0]] * 3 + [[0, 0, 1.5]], "0 to 255"),
    ("palette", [[0, 0, 0]] * 3 + [[0, 0, True]], "0 to 255"),
    ("palette", [[0, 0, 0]] * 3 + [[0, 0]], "3 whole numbers"),
    ("palette", [[0, 0, 0]] * 3 + [[0, 0, 10**30]], "beyond 64 bits"),
    ("palette", [[0, 0, 0]] * 3 + [[0, 0, float("inf")]], "Infinity"),
    ("flip_pairs", [[2, 4]], "0 to 3"),
    ("flip_pairs", [[2, 2]], "a class twice"),
    ("flip_pairs", [[0, 1], [1, 2]], "a class twice"),
    ("flip_pairs", [[0, float("inf")]], "Infinity"),
    ("input_size", [0, 16], "1 to 8192"),
    ("input_size", [16, 10**9], "1 to 8192"),
    ("input_size", [16, 16, 16], "2 whole numbers"),
    ("input_size", [16, float("nan")], "NaN"),
    ("output_stride", 0, "output_stride is 0"),
    ("output_stride", "16", "output_stride is '16'"),
    ("input_kind", "pixels", "input_kind is 'pixels', expected float or uint8"),
    ("output_kind", None, "output_kind is None"),
    ("precision", ["fp32"], r"precision is \['fp32'\]"),
    ("precision", "fp4", "precision is 'fp4'"),
    ("io", "bfloat16", "io is 'bfloat16'"),
    ("edge", 1, "edge is 1, expected true or false"),
    ("align_corners", "yes", "align_corners"),
    ("family", 5, "family is 5"),
    ("weights", "a\x07", "weights"),
    ("untrained", "no", "untrained is 'no', expected true or false"),
    ("digest", "00", "not as it was exported"),
    ("digest", 0, "digest is 0"),
    ("extra", [], "extra is"),
    ("schema", 99, "schema 99"),
    ("schema", [1], r"schema \[1\]"),
    ("geometry", [], "geometry is"),
    ("geometry.kind", "sheared", "geometry.kind is 'sheared'"),
    ("geometry.unwarp", "none", "geometry.unwarp"),
    ("geometry.centre", 0.5, "geometry.centre"),
    ("geometry.half_pixel", None, "geometry.half_pixel"),
    ("normalisation.colour_order", "xyz", "normalisation.colour_order is 'xyz', expected bgr or rgb"),
    ("normalisation.scale", 0, "normalisation.scale"),
    ("normalisation.scale", 10**400, "beyond 64 bits"),
    ("normalisation.std", [1, 1, 0], "normalisation.std"),
    ("normalisation.std", [1, 1, -1], "normalisation.std"),
    ("normalisation.std", [1, 1, 1e-300], "normalisation.std"),
    ("normalisation.mean", [0, 0, float("nan")], "NaN"),
    ("normalisation.mean", [0, 0], "3 numbers"),
    ("normalisation.mean", [0, 0, "0"], "3 numbers"),
]


def changed(name: str, value: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(METADATA.to_json())
    group, _, member = name.rpartition(".")
    (document[group] if group else document)[member] = value
    return document


@pytest.mark.parametrize(("name", "value", "message"), HOSTILE_FIELDS, ids=lambda value: f"{value!a:.40}")
def test_each_field_of_the_metadata_has_a_type_and_a_range(tmp_path: Path, name: str, value: Any, message: str) -> None:
    path = small_model(tmp_path / "x.onnx", digest=False)
    path.write_bytes(with_metadata(path.read_bytes(), changed(name, value)))
    with pytest.raises(ModelFileError, match=message) as caught:
        HumanParser(path, backend="onnxruntime", device="cpu")
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.isprintable()
    assert len(text) < len(str(path)) + 250


@pytest.mark.parametrize(("weights", "untrained"), [("untrained (random, seed 0)", True), ("checkpoint x.pth", False)])
def test_older_files_say_in_words_whether_their_weights_are_trained(weights: str, untrained: bool) -> None:
    document = json.loads(dataclasses.replace(METADATA, weights=weights, untrained=not untrained).to_json())
    assert ModelMetadata.from_json(json.dumps(document), "x").untrained is not untrained  # its own word counts
    del document["untrained"]
    assert ModelMetadata.from_json(json.dumps(document), "x").untrained is untrained


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ModelMetadata)])
def test_a_field_may_be_missing_only_where_older_files_lack_it(field: str) -> None:
    document = json.loads(METADATA.to_json())
    del document[field]
    if field in ("untrained", "edge", "io", "digest", "extra"):
        assert ModelMetadata.from_json(json.dumps(document), "x").class_names == METADATA.class_names
    else:
        with pytest.raises(ModelFileError, match=f"{field} is missing"):
            ModelMetadata.from_json(json.dumps(document), "x.onnx")


@pytest.mark.parametrize("depth", [100, 20_000, 100_000])
@pytest.mark.parametrize("place", ["all of it", "extra"])
def test_metadata_nested_too_deep_is_one_line(tmp_path: Path, depth: int, place: str) -> None:
    nested = '{"a":' * depth + "1" + "}" * depth
    text = METADATA.to_json().replace('"extra": {', f'"extra": {{"deep": {nested}, ') if place == "extra" else nested
    path = small_model(tmp_path / "x.onnx", digest=False)
    path.write_bytes(with_metadata(path.read_bytes(), text))
    with pytest.raises(ModelFileError, match="nested too deep"):
        HumanParser(path, backend="onnxruntime", device="cpu")


def sidecar(engine: Path) -> dict[str, Any]:
    """An honest sidecar's document, beside an engine of a few bytes."""
    engine.write_bytes(b"a plan")
    made = EngineSidecar(
        plan_sha256=file_sha256(engine),
        onnx_sha256="0" * 64,
        tensorrt="11.4.0.106",
        architecture="sm_90",
        hardware_compatibility="none",
        version_compatible=False,
        precision="fp32",
        profiles=(Profile(1, 1, 1),),
        plugins=("CE2PEdgeFusion",),
        kernels={"x.ptx": "0" * 64},
        metadata=METADATA,
        build={"seconds": 1.5},
    )
    sidecar_path(engine).write_text(made.to_json())
    assert read_sidecar(engine) == made
    document: dict[str, Any] = json.loads(made.to_json())
    return document


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("plan_sha256", 5, "plan_sha256"),
        ("tensorrt", None, "tensorrt"),
        ("hardware_compatibility", "all", "hardware_compatibility"),
        ("version_compatible", 1, "version_compatible"),
        ("precision", "fp4", "precision"),
        ("profiles", [{"minimum": 4, "optimum": 1, "maximum": 1}], "in this order"),
        ("profiles", [{"minimum": 1, "optimum": 1, "maximum": 10**9}], "1 to 1024"),
        ("profiles", [5], "profiles"),
        ("plugins", "abc", "plugins"),
        ("kernels", {"../../x.ptx": "0"}, "another folder"),
        ("kernels", {"/tmp/x.ptx": "0"}, "another folder"),  # noqa: S108
        ("kernels", {"x.ptx": 5}, "beside the engine"),
        ("metadata", {"schema": 1}, "class_names is missing"),
        ("build", [], "build"),
        ("schema", 7, "schema 7"),
        ("more", 1, "unknown fields"),
    ],
)
def test_each_field_of_an_engines_sidecar_too(tmp_path: Path, name: str, value: Any, message: str) -> None:
    engine = tmp_path / "x.engine"
    document = sidecar(engine)
    document[name] = value
    sidecar_path(engine).write_text(json.dumps(document))
    with pytest.raises(ModelFileError, match=message) as caught:
        read_sidecar(engine)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", [100, 20_000, 100_000])
def test_a_sidecar_nested_too_deep_is_one_line(tmp_path: Path, depth: int) -> None:
    engine = tmp_path / "x.engine"
    text = json.dumps(sidecar(engine))
    nested = text.replace('"build": {', '"build": {"deep": ' + "[" * depth + "]" * depth + ", ")
    sidecar_path(engine).write_text(nested)
    with pytest.raises(ModelFileError, match="nested too deep"):
        read_sidecar(engine)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("classes", [[0, 1, 2, 3], [0], [2]])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused(tmp_path: Path, backend: str, classes: list[int], value: float) -> None:
    from onnx import helper, numpy_helper

    path = tmp_path / "x.onnx"
    bias = np.zeros(4, np.float32)
    bias[classes] = value
    node = helper.make_node("Conv", ["image", "thin", "broken"], ["parsing"])
    path.write_bytes(model([node], weights=[numpy_helper.from_array(bias, "broken")]).SerializeToString())
    with (
        HumanParser(path, backend=backend, device="cpu") as parser,
        pytest.raises(ModelFileError, match=r"^x\.onnx: its logits are not finite"),
    ):
        parser(FRAME)


@pytest.mark.parametrize("name", ["functions that call functions, 10^9", "an endless Loop", "Resize to 100 GB"])
def test_no_engine_is_built_of_such_files(tmp_path: Path, name: str) -> None:
    # Imported here: the child processes above import this module, and torch would be most of their memory.
    pytest.importorskip("torch", reason="engines are built where networks are exported")
    from ce2p_export.tensorrt import EngineError
    from ce2p_export.tensorrt.preparation import load_onnx, metadata_of

    made, message = HOSTILE[name]
    path = tmp_path / "x.onnx"
    content = made()
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(EngineError, match=message):
        metadata_of(load_onnx(path), path)  # what every build begins with
