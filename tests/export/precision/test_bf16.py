"""bfloat16 and float16 at the border: what such files hold, who runs them, and how they are proved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from ce2p.errors import ConfigError
from ce2p.synthetic import iter_samples
from ce2p_export import GraphOptions, Quantisation, export_onnx, open_source
from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.backends import BACKENDS, open_backend, precision_refusal
from ce2p_runtime.precisions import PRECISIONS

SIZE = (97, 81)


def border(file: Path) -> dict[str, str]:
    graph = onnx.load(str(file)).graph
    return {v.name: TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in [*graph.input, *graph.output]}


@pytest.mark.parametrize("output_kind", ["logits", "labels"])
def test_bf16_files_are_proved_with_their_roundings_and_run_in_openvino(output_kind: str, tmp_path: Path) -> None:
    source = open_source("lip-r18-os16", family="schp", random=True)
    options = GraphOptions(SIZE, precision="bf16", output_kind=output_kind)  # type: ignore[arg-type]
    exported = export_onnx(source, options, tmp_path / "m.onnx")
    assert exported.proof is not None
    assert exported.proof.limits == PRECISIONS["bf16"].logits
    assert all("rounded" in row.picture for row in exported.proof.rows)
    assert exported.fusion.reason == "it has no bfloat16 kernel"
    model = onnx.load(str(exported.path))
    weights = {t.data_type for t in model.graph.initializer if t.dims and len(t.dims) == 4}
    assert weights == {TensorProto.BFLOAT16}
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 22
    frame = next(iter(iter_samples(1, 1, (120, 100))))[0]
    plain = export_onnx(source, GraphOptions(SIZE, output_kind=output_kind), tmp_path / "f.onnx").path  # type: ignore[arg-type]
    with (
        HumanParser(exported.path, backend="openvino", device="cpu") as half,
        HumanParser(plain, backend="openvino", device="cpu") as full,
    ):
        agreement = (half(frame).labels == full(frame).labels).mean()
    assert agreement > PRECISIONS["bf16"].logits.pixel_agreement


def test_onnxruntime_says_that_it_does_not_run_bf16(tmp_path: Path) -> None:
    source = open_source("lip-r18-os16", family="schp", random=True)
    file = export_onnx(source, GraphOptions(SIZE, precision="bf16"), tmp_path / "m.onnx").path
    reason = precision_refusal("onnxruntime", "bf16")
    assert reason is not None
    with pytest.raises(BackendError) as caught:
        open_backend(file, "onnxruntime", "cpu")
    assert str(caught.value) == f"{file}: {reason}"
    with HumanParser(file, device="cpu") as parser:
        assert parser.backend.name == "openvino"
        assert parser.choice is not None
        assert parser.choice.left_out["onnxruntime"] == str(caught.value)


@pytest.mark.parametrize(
    ("name", "precision", "refused"),
    [
        ("onnxruntime", "bf16", True),
        ("onnxruntime", "fp32", False),
        ("onnxruntime", "int8", False),
        ("openvino", "bf16", False),
        ("auto", "bf16", False),
        ("tensorrt", "bf16", False),
    ],
)
def test_who_runs_a_precision_can_be_asked_before_anything_is_loaded(name: str, precision: str, refused: bool) -> None:
    reason = precision_refusal(name, precision)
    assert (reason is not None) is refused
    assert reason is None or "\n" not in reason


def test_auto_is_refused_where_nothing_else_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(BACKENDS, "openvino")
    assert precision_refusal("auto", "bf16") == precision_refusal("onnxruntime", "bf16")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_float16_inputs_and_outputs(backend: str, tmp_path: Path) -> None:
    source = open_source("lip-r18-os16", family="schp", random=True)
    narrow = GraphOptions(SIZE, precision="fp16", io="float16", edge=True)
    file = export_onnx(source, narrow, tmp_path / "half.onnx")
    assert border(file.path) == {"image": "FLOAT16", "parsing": "FLOAT16", "edge": "FLOAT16"}
    assert file.metadata.io == "float16"
    wide = export_onnx(source, GraphOptions(SIZE, precision="fp16", edge=True), tmp_path / "wide.onnx").path
    assert set(border(wide).values()) == {"FLOAT"}
    frame = next(iter(iter_samples(1, 1, (120, 100))))[0]
    labels = []
    for path in (file.path, wide):
        with HumanParser(path, backend=backend, device="cpu") as parser:
            labels.append(parser(frame).labels)
    assert len(np.unique(labels[1])) > 1
    assert (labels[0] == labels[1]).mean() > 0.995


def test_float16_at_the_border_wants_float16_inside(tmp_path: Path) -> None:
    source = open_source("lip-r18-os16", family="schp", random=True)
    for precision in ("fp32", "bf16"):
        with pytest.raises(ConfigError, match=f"the inside is {precision}; expected --precision fp16"):
            export_onnx(source, GraphOptions(SIZE, precision=precision, io="float16"), tmp_path / "m.onnx")  # type: ignore[arg-type]


def test_int8_wants_pictures_and_folds(tmp_path: Path) -> None:
    source = open_source("lip-r18-os16", family="schp", random=True)
    options = GraphOptions(SIZE, precision="int8")
    with pytest.raises(ConfigError, match="int8 needs pictures"):
        export_onnx(source, options, tmp_path / "m.onnx")
    pictures = Quantisation([np.zeros(options.input_shape, np.float32)], "one")
    with pytest.raises(ConfigError, match="leave --no-fold out"):
        export_onnx(source, options, tmp_path / "m.onnx", fold=False, quantisation=pictures)
