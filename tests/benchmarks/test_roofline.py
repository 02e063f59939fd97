"""The roofline's arithmetic with made-up ceilings; and that ceilings are the best of what was reached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from benchmarks import roofline
from benchmarks.ceiling_sources import Chain, conv_chain, sources
from benchmarks.ceilings import Ceilings, PeakSource, Reached, best_sources, ceilings_of, measure
from benchmarks.roofline import Placed, ceiling_lines, float_arithmetic, ideal_ms, memory_ms, plot_roofline
from benchmarks.workload import Workload

CEILINGS = Ceilings(fp32=100e9, bf16=200e9, int8=800e9, copy=20e9)
MIXED = Workload(
    int8_flops=80_000_000_000, float_flops=10_000_000_000, int8_values=100_000_000, float_values=25_000_000
)
ROOT = Path(__file__).parents[2]
SMALL = Chain(((16, 16, 3),) * 2, 8)


def test_the_ideal_time_adds_up_over_the_arithmetic() -> None:
    assert ideal_ms(MIXED, "fp32", CEILINGS) == pytest.approx(100 + 100)
    assert ideal_ms(MIXED, "bf16", CEILINGS) == pytest.approx(100 + 50)
    assert memory_ms(MIXED, "fp32", CEILINGS) == pytest.approx(10)
    assert memory_ms(MIXED, "bf16", CEILINGS) == pytest.approx(7.5)


def test_the_share_is_ideal_over_measured() -> None:
    placed = Placed.of("net", MIXED, "fp32", 400.0, CEILINGS)
    assert placed.share == pytest.approx(0.5)
    assert placed.intensity == pytest.approx(450)
    assert placed.arithmetic == "int8"
    assert placed.to_dict()["gflops"] == {"int8": 80, "fp32": 10}


def test_without_a_ceiling_there_is_no_share() -> None:
    unknown = Ceilings(100e9, None, None, None)
    assert ideal_ms(MIXED, "fp32", unknown) is None
    assert Placed.of("net", MIXED, "fp32", 1.0, unknown).share is None
    assert memory_ms(MIXED, "fp32", unknown) is None
    floats = Workload(0, 10_000_000_000, 0, 1)
    assert ideal_ms(floats, "fp32", unknown) == pytest.approx(100)
    assert ideal_ms(floats, "bf16", unknown) is None


def test_ceilings_are_the_best_of_each_resource() -> None:
    reached = [
        Reached("fp32", "a", 3.0),
        Reached("fp32", "b", 5.0),
        Reached("copy", "c", 2.0),
        Reached("int8", "d", 9.0),
    ]
    assert ceilings_of(reached) == Ceilings(5.0, None, 9.0, 2.0)
    assert [line[2] for line in ceiling_lines(reached)] == ["b", "c", "d"]


def test_only_what_reached_something_is_measured_again() -> None:
    """A resource that nothing here has, as bfloat16 on older processors, has no best source."""
    listed = [
        PeakSource(resource, "L", shape, 1, lambda: sum)
        for resource, shape in (("fp32", "s"), ("fp32", "t"), ("bf16", "s"))
    ]  # type: ignore[arg-type]
    reached = [Reached("fp32", "L, s", 3.0), Reached("fp32", "L, t", 5.0)]
    assert best_sources(listed, reached) == [listed[1]]


def test_a_source_that_cannot_run_is_named_and_spares_the_others() -> None:
    def broken() -> object:
        raise RuntimeError("no such instruction\nat 0x0")

    listed = [
        PeakSource("bf16", "L", "s", 1, broken),  # type: ignore[arg-type]
        PeakSource("fp32", "L", "s", 1000, lambda: lambda: sum(range(1000))),
    ]
    reached, missing = measure(listed, 2)
    assert [found.resource for found in reached] == ["fp32"]
    assert reached[0].rate > 0
    assert missing == {"bf16: L, s": "no such instruction"}


def test_every_kind_of_source_runs_on_tiny_shapes() -> None:
    listed = list(sources(1, squares=(32,), chains=(SMALL,), copied=1 << 20))
    reached, missing = measure(listed, 1)
    assert {found.resource for found in reached} >= {"fp32", "int8", "copy"}
    assert len(reached) + len(missing) == len(listed)
    # What a processor or a build may lack; everything in float32 runs everywhere.
    assert all(name.startswith(("bf16", "int8")) for name in missing), missing


def test_the_quantised_chain_computes_what_its_integers_say() -> None:
    """With the scales of the chain: y = clip(round(conv(x - 128, w) · 0.002 + 128)), by NumPy for a 1x1 kernel."""
    chain = Chain(((6, 5, 1),), 4)
    model = conv_chain(chain, quantised=True)
    x = np.random.default_rng(3).integers(0, 256, (1, 6, 4, 4), np.uint8)
    found = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )
    weight = next(onnx_array(t) for t in model.graph.initializer if t.name == "w0")[:, :, 0, 0].astype(np.int64)
    sums = np.einsum("oi,nihw->nohw", weight, x.astype(np.int64) - 128)
    expected = np.clip(np.rint(sums * 0.002) + 128, 0, 255)
    assert np.abs(found[0].astype(np.int64) - expected).max() <= 1


def onnx_array(tensor: object) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)  # type: ignore[arg-type]


def test_only_a_bfloat16_file_in_openvino_computes_in_bfloat16() -> None:
    assert float_arithmetic("openvino", "bf16") == "bf16"
    assert {float_arithmetic("onnxruntime", "bf16"), float_arithmetic("openvino", "int8")} == {"fp32"}


def test_the_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    placed = [Placed.of("net", MIXED, "fp32", 400.0, CEILINGS)]
    written = plot_roofline(placed, CEILINGS, "some CPU", tmp_path / "roofline.png")
    assert [path.suffix for path in written] == [".png", ".svg"]
    assert "50% of peak" in written[1].read_text()
    plot_roofline([], Ceilings(1e9, None, None, None), "", tmp_path / "empty.png")


def test_the_command_places_a_file(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    monkeypatch.setattr(roofline, "sources", lambda threads: sources(1, (32,), (SMALL,), 1 << 20))
    arguments = ["roofline", str(tiny_model), "--rounds", "1", "--threads", "1", "--backends", "onnxruntime"]
    monkeypatch.setattr("sys.argv", [*arguments, "--out", str(tmp_path)])
    roofline.main()
    document = json.loads((tmp_path / "roofline.json").read_text())
    assert [row["name"] for row in document["networks"]] == [f"{tiny_model.stem}, onnxruntime"]
    assert document["networks"][0]["share_of_peak"] > 0
    assert document["ceilings"]["fp32"] == max(r["rate"] for r in document["reached"] if r["resource"] == "fp32")


def test_sources_leave_signals_deliverable() -> None:
    """Two OpenVINO sources, gone in the order they came, then a signal: see ce2p_runtime/backends/openvino.py."""
    program = (
        "import gc, os, signal\n"
        "from benchmarks.ceiling_sources import Chain, sources\n"
        "listed = sources(1, (), (Chain(((4, 4, 1),), 4),), 1 << 20)\n"
        "made = [s.make() for s in listed if s.library == 'OpenVINO' and s.resource != 'bf16']\n"
        "assert len(made) == 2\n"
        "del made[0]; gc.collect(); made.clear(); gc.collect()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('delivered'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    path = ":".join(map(str, (ROOT, ROOT / "export", ROOT / "runtime")))
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert (done.returncode, done.stdout.strip()) == (0, "delivered"), done.stderr
