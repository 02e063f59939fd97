"""Activation statistics: exact extremes, honest histograms, and a cache that knows what it was asked."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ce2p.errors import CE2PError
from ce2p_export.precision import calibration
from ce2p_export.precision.calibration import BINS, ActivationStatistics, calibrate, collect, too_large_for_half
from ce2p_export.precision.int8 import tensors_to_calibrate
from ce2p_export.precision.ranges import METHODS, activation_ranges
from ce2p_runtime.base.cache import CACHE_VARIABLE
from tests.hostile.mutations import mutations

from .networks import chain, loaded

RNG = np.random.default_rng(3)
INPUTS = [RNG.normal(0, 1 + i, (1, 3, 12, 12)).astype(np.float32) for i in range(3)]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def statistics(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> ActivationStatistics:
    low, high = float(values.min()), float(values.max())
    return ActivationStatistics(low, high, np.histogram(values, BINS, (low, high))[0].astype(np.int64))


def test_extremes_are_those_of_all_pictures() -> None:
    model = chain([1.0, 1.0])
    tensors = tensors_to_calibrate(loaded(model).graph)
    assert tensors == ["image", "c0", "r0", "c1", "r1", "parsing"]
    found = collect(model, tensors, INPUTS)
    proto = onnx.load_from_string(model)
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("c0", "r1"))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for name in ("c0", "r1"):
        values = np.concatenate([session.run([name], {"image": image})[0] for image in INPUTS])
        assert found[name].low == values.min()
        assert found[name].high == values.max()
        assert found[name].histogram.sum() == values.size  # small tensors are taken whole
    assert found["image"].high == max(image.max() for image in INPUTS)


def test_large_tensors_are_sampled_over_their_whole_length() -> None:
    """A tensor whose second half differs from its first shows in the histogram half and half."""
    model = chain([1.0], side=200)
    image = np.zeros((1, 3, 200, 200), np.float32)
    image[:, :, 100:] = 4.0
    counts = collect(model, ["image"], [image])["image"].histogram
    assert counts[0] + counts[-1] == counts.sum()
    assert counts[0] == pytest.approx(counts[-1], rel=0.01)


def test_a_second_calibration_is_remembered_and_another_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chain([1.0])
    first, remembered = calibrate(model, ["c0"], INPUTS)
    assert not remembered
    again, remembered = calibrate(model, ["c0"], INPUTS)
    assert remembered
    assert (again["c0"].low, again["c0"].high) == (first["c0"].low, first["c0"].high)
    np.testing.assert_array_equal(again["c0"].histogram, first["c0"].histogram)
    changed = [INPUTS[0], INPUTS[1], INPUTS[2] + np.float32(1e-3)]
    for other in ((model, ["r0"], INPUTS), (model, ["c0"], changed), (chain([1.0], seed=1), ["c0"], INPUTS)):
        assert calibrate(*other)[1] is False


def test_a_damaged_cache_is_collected_anew_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = chain([1.0])
    calibrate(model, ["c0"], INPUTS)
    (file,) = (tmp_path / "cache" / "calibration").iterdir()
    assert caplog.messages == []
    file.write_bytes(file.read_bytes()[:100])
    assert calibrate(model, ["c0"], INPUTS)[1] is False
    assert caplog.messages == [f"{file}: is damaged (BadZipFile), so the network is calibrated again"]
    assert calibrate(model, ["c0"], INPUTS)[1] is True


def test_any_damage_to_the_cache_is_collected_anew_or_harmless(tmp_path: Path, fuzz_seed: int, fuzz_count: int) -> None:
    calibrate(chain([1.0]), ["c0"], INPUTS)
    (file,) = (tmp_path / "cache" / "calibration").iterdir()
    refused = 0
    for _, data in mutations(file.read_bytes(), fuzz_seed, fuzz_count):
        file.write_bytes(data)
        found = calibration._read(file, ["c0"])
        refused += found is None
        assert found is None or np.isfinite((found["c0"].low, found["c0"].high)).all()
    assert refused
    file.unlink()
    os.mkfifo(file)
    assert calibrate(chain([1.0]), ["c0"], INPUTS)[1] is False


def test_no_picture_and_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(CE2PError, match="at least one picture"):
        collect(chain([1.0]), ["c0"], [])
    with pytest.raises(CE2PError, match="c0 is not finite"):
        collect(chain([1.0]), ["c0"], [np.full((1, 3, 12, 12), np.nan, np.float32)])


def test_activations_near_the_end_of_float16_are_named() -> None:
    assert too_large_for_half(chain([1.0, 1.0]), INPUTS) == []
    assert too_large_for_half(chain([1e5, 1e-5]), INPUTS) == ["conv0", "relu0"]


@pytest.mark.parametrize("method", METHODS)
def test_ranges_hold_zero_and_stay_within_the_extremes(method: str) -> None:
    for values in (RNG.normal(0, 1, 20000), np.abs(RNG.normal(3, 1, 20000)), -np.abs(RNG.normal(3, 1, 20000))):
        entry = statistics(values)
        low, high = activation_ranges({"x": entry}, method)["x"]  # type: ignore[arg-type]
        assert min(entry.low, 0) <= low <= 0 <= high <= max(entry.high, 0)
        assert high - low > 0.3 * max(-entry.low, entry.high)


def test_a_stray_value_widens_minmax_only() -> None:
    values = np.append(RNG.normal(0, 1, 200000), [100.0])
    ranges = {name: activation_ranges({"x": statistics(values)}, name)["x"] for name in METHODS}  # type: ignore[arg-type]
    assert ranges["minmax"][1] == 100.0
    assert all(ranges[name][1] < 25 for name in ("percentile", "entropy"))
    assert ranges["mse"][1] < 90  # one value a hundred steps off weighs as much as all the others' rounding
    assert all(ranges[name][1] > 2 for name in ("percentile", "entropy", "mse"))


def test_mse_finds_the_range_of_least_error() -> None:
    """Against the error itself, on the values themselves and not on their histogram."""
    values = RNG.laplace(0, 1, 200000)

    def error(limit: float) -> float:
        step = 2 * limit / 255
        rounded = np.clip(np.round(values / step) * step, -limit, limit)
        return float(np.mean((values - rounded) ** 2))

    low, high = activation_ranges({"x": statistics(values)}, "mse")["x"]
    best = min(error(limit) for limit in np.linspace(2, 15, 60))
    assert error((high - low) / 2) < 1.3 * best
    assert error(max(-values.min(), values.max())) > 1.3 * best


def test_the_percentile_cuts_half_of_the_rest_on_each_side() -> None:
    values = np.linspace(-1, 1, 1_000_001)
    low, high = activation_ranges({"x": statistics(values)}, "percentile")["x"]
    assert low == pytest.approx(-0.9999, abs=2 / BINS)
    assert high == pytest.approx(0.9999, abs=2 / BINS)
    assert activation_ranges({"x": statistics(np.maximum(values, 0))}, "percentile")["x"][0] == 0.0
