"""Every precision, target and calibration method is complete: its name, entry, converter and option."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from ce2p.api.export import export
from ce2p.cli.export import export as command
from ce2p_export.precision.calibration import collect
from ce2p_export.precision.converters import CONVERTERS, PrecisionPlan, convert
from ce2p_export.precision.int8 import FLAVOURS, tensors_to_calibrate
from ce2p_export.precision.ranges import METHODS, activation_ranges
from ce2p_export.precision.rounding import with_roundings
from ce2p_runtime.precisions import PRECISIONS, TARGETS, CalibrationMethod, PrecisionName, Target
from tests.export.precision.networks import chain, loaded

IMAGE = np.random.default_rng(0).normal(0, 1, (1, 3, 12, 12)).astype(np.float32)


def test_names_entries_and_what_carries_them_out_are_the_same_set() -> None:
    assert set(get_args(PrecisionName)) == set(PRECISIONS) == set(CONVERTERS)
    assert set(get_args(Target)) == set(TARGETS) == set(FLAVOURS)
    assert {name: flavour.between for name, flavour in FLAVOURS.items()} == TARGETS
    assert set(get_args(CalibrationMethod)) == set(METHODS)


def test_a_precision_without_a_converter_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(CONVERTERS, "bf16")  # type: ignore[attr-defined]
    with pytest.raises(KeyError, match="bf16"):
        convert(chain([1.0]), "bf16", PrecisionPlan())


@pytest.mark.parametrize(
    ("option", "kind"), [("precision", PrecisionName), ("target", Target | None), ("calib_method", CalibrationMethod)]
)
def test_command_and_front_door_offer_every_one(option: str, kind: object) -> None:
    assert get_type_hints(command)[option] == kind
    assert get_type_hints(export)[option] in (kind, Target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_converts_to_a_valid_graph_of_its_types(precision: str, target: Target, tmp_path: Path) -> None:
    entry = PRECISIONS[precision]
    if not entry.calibrated and target != "cpu":
        pytest.skip("the target is for calibrated files")
    pure = chain([1.0, 1.0])
    tensors = tensors_to_calibrate(loaded(pure).graph)
    ranges = activation_ranges(collect(pure, tensors, [IMAGE]), "minmax") if entry.calibrated else {}
    model = convert(pure, precision, PrecisionPlan(target=target, ranges=ranges))
    file = tmp_path / "m.onnx"
    ir.save(model, file)
    onnx.checker.check_model(str(file), full_check=True)
    stored = {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in onnx.load(str(file)).graph.initializer}
    half = entry.half_for(target)
    assert (half is not None and half.upper() in stored) is (half is not None)
    assert ("INT8" in stored) is entry.calibrated
    if half is not None:  # what stands for a GPU is float32 throughout
        rounded = with_roundings(file)
        assert not {tensor.data_type for tensor in rounded.graph.initializer} & {
            onnx.TensorProto.FLOAT16,
            onnx.TensorProto.BFLOAT16,
        }
