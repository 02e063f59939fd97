"""What stands at the top of a report."""

from __future__ import annotations

from functools import partial

from benchmarks.gpu.kill_test import judge
from benchmarks.gpu.network import OURS
from benchmarks.gpu.parts import Part
from benchmarks.gpu.summary import COMPILED_FOLDED, FRAME_ROW, headline, report
from benchmarks.gpu.targets import KILL_MS, predicted_fusion_ms

FACTS = {"versions": {"torch": "2.11.0"}, "commit": "abc"}


def networks() -> Part:
    return Part(
        "Networks",
        rows=[
            {"network": "ours TensorRT", "batch": 16, "note": "TensorRT is not installed"},
            {"network": OURS, "batch": 16, "median ms": 4.0, "of compiled, folded": 0.5},
            {"network": COMPILED_FOLDED, "batch": 16, "median ms": 8.0, "of compiled, folded": 1.0},
            {"network": OURS, "batch": 1, "median ms": 0.9, "of compiled, folded": 0.75},
        ],
    )


def test_the_headline_is_the_frame_and_the_throughput_beside_targets_and_rival() -> None:
    frames = Part("Frames", rows=[{"frame": "baseline pipeline", "p50 ms": 300.0}, {"frame": FRAME_ROW, "p50 ms": 1.5}])
    lines = headline([networks(), frames])
    assert lines["frame p50 ms"] == {"measured": 1.5, "target": 1.0, "measured / target": 1.5}
    assert lines["images/s, batch 16"]["measured"] == 4000.0
    assert lines["images/s, batch 16"]["time / torch.compile on the folded network"] == 0.5
    assert lines["network ms, batch 1"]["measured"] == 0.9
    text = report("Some card", FACTS, "schp:lip-r101-os16:473", [networks(), frames], rehearsal=False)
    assert text.index("- frame p50 ms: measured 1.5, target 1") < text.index("## Networks")
    assert "rehearsal" not in text


def test_the_kill_tests_figures_serve_where_the_networks_were_not_measured() -> None:
    part = Part("Kill test", rows=[{"network": "fused, cudnn.benchmark on", "batch": 16, "median ms": 5.0}])
    assert headline([part])["images/s, batch 16"]["measured"] == 3200.0


def test_what_was_not_measured_is_not_made_up() -> None:
    skipped = Part("Networks", "skipped", "no GPU")
    assert headline([skipped]) == {}
    assert "no headline" in report("Some card", FACTS, "m", [skipped], rehearsal=True)
    assert "Its figures mean nothing" in report("Some card", FACTS, "m", [skipped], rehearsal=True)


def test_the_kill_test_gives_its_verdict_beside_its_predictions() -> None:
    for ms, verdict in ((KILL_MS.value - 1, "is worth building on"), (KILL_MS.value + 1, "is in doubt")):
        rows = [
            {"network": "fused, cudnn.benchmark on", "batch": 16, "median ms": ms},
            {"network": "folded, cudnn.benchmark on", "batch": 16, "median ms": 1.0},
            {"network": "fused, cudnn.benchmark off", "batch": 16, "note": "cannot run"},
        ]
        part = Part("Kill test", rows=rows)  # type: ignore[arg-type]
        judge(part)
        assert part.note.endswith(verdict)
        assert part.rows[0]["measured / predicted"] == ms / 5.1
        assert "predicted ms" not in part.rows[2]


def test_fusion_is_predicted_from_its_instructions() -> None:
    predicted = partial(predicted_fusion_ms, 128 * 10**6, 1, 20, multiprocessors=1, clock_hz=1e9)
    half = predicted(half=True, any_sizes=False)
    assert half == 41.0, "128 lanes issue 41 instructions for each of 128 million values at one per nanosecond"
    assert predicted(half=False, any_sizes=False) == 57.0
    assert predicted(half=True, any_sizes=True) > 2 * half
