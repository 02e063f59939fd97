"""bfloat16 and float16 at the border: what such files hold, who runs them, and how they are proved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from ce2p.errors import ConfigError
from ce2p.synthetic import iter_samples
from ce2p_export import GraphOptions, Quantisation, export_onnx, open_model
from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.backends import BACKENDS, open_backend, precision_refusal
from ce2p_runtime.precisions import PRECISIONS

SIZE = (97, 81)


def border(file: Path) -> dict[str, str]:
    graph = onnx.load(str(file)).graph
    return {v.name: TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in [*graph.input, *graph.output]}


@pytest.mark.parametrize("output_kind", ["logits", "labels"])
def test_bf16_files_are_proved_with_their_roundings_and_run_in_openvino(
    output_kind: Any, exported: Callable[..., Path], tmp_path: Path
) -> None:
    source = open_model("lip-r18-os16", family="schp", random=True)
    options = GraphOptions(SIZE, precision="bf16", output_kind=output_kind)
    made = export_onnx(source, options, tmp_path / "m.onnx")
    assert made.proof is not None
    assert made.proof.limits == PRECISIONS["bf16"].logits
    assert all("rounded" in row.picture for row in made.proof.rows)
    assert made.fusion.reason == "it has no bfloat16 kernel"
    model = onnx.load(str(made.path))
    weights = {t.data_type for t in model.graph.initializer if t.dims and len(t.dims) == 4}
    assert weights == {TensorProto.BFLOAT16}
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 22
    frame = next(iter(iter_samples(1, 1, (120, 100))))[0]
    plain = exported(GraphOptions(SIZE, output_kind=output_kind))
    with (
        HumanParser(made.path, backend="openvino", device="cpu") as half,
        HumanParser(plain, backend="openvino", device="cpu") as full,
    ):
        agreement = (half(frame).labels == full(frame).labels).mean()
    assert agreement > PRECISIONS["bf16"].logits.pixel_agreement


def test_onnxruntime_says_that_it_does_not_run_bf16(exported: Callable[..., Path]) -> None:
    file = exported(GraphOptions(SIZE, precision="bf16"))
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
def test_float16_inputs_and_outputs(backend: str, exported: Callable[..., Path]) -> None:
    narrow = exported(GraphOptions(SIZE, precision="fp16", io="float16", edge=True))
    assert border(narrow) == {"image": "FLOAT16", "parsing": "FLOAT16", "edge": "FLOAT16"}
    wide = exported(GraphOptions(SIZE, precision="fp16", edge=True))
    assert set(border(wide).values()) == {"FLOAT"}
    frame = next(iter(iter_samples(1, 1, (120, 100))))[0]
    labels = []
    for path in (narrow, wide):
        with HumanParser(path, backend=backend, device="cpu") as parser:
            assert parser.metadata.io == ("float16" if path == narrow else "float32")
            labels.append(parser(frame).labels)
    assert len(np.unique(labels[1])) > 1
    assert (labels[0] == labels[1]).mean() > 0.995


def test_float16_at_the_border_wants_float16_inside(tmp_path: Path) -> None:
    source = open_model("lip-r18-os16", family="schp", random=True)
    for precision in ("fp32", "bf16"):
        with pytest.raises(ConfigError, match=f"the inside is {precision}; expected --precision fp16"):
            export_onnx(source, GraphOptions(SIZE, precision=precision, io="float16"), tmp_path / "m.onnx")  # type: ignore[arg-type]


def test_int8_wants_pictures_and_folds(tmp_path: Path) -> None:
    source = open_model("lip-r18-os16", family="schp", random=True)
    options = GraphOptions(SIZE, precision="int8")
    with pytest.raises(ConfigError, match="int8 needs pictures"):
        export_onnx(source, options, tmp_path / "m.onnx")
    pictures = Quantisation([np.zeros(options.input_shape, np.float32)], "one")
    with pytest.raises(ConfigError, match="leave --no-fold out"):
        export_onnx(source, options, tmp_path / "m.onnx", fold=False, quantisation=pictures)
