"""The GPU check's own logic, tried on the CPU: what it measures is right, what cannot run is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check import Part, attempt, markdown, onnxruntime_part, torch_part
from ce2p.models import CE2P

Tiny = Callable[..., CE2P]


def test_the_torch_part_compares_before_it_times(tiny: Tiny) -> None:
    part = torch_part(tiny("schp"), (97, 97), rounds=2, device="cpu")
    assert part.status == "ran"
    assert set(part.timings) == {"as trained fp32", "folded fp32"}
    assert all(distance < 1e-5 for distance in part.distances.values())


def test_the_onnxruntime_part_runs_ours_and_the_naive_export() -> None:
    part = onnxruntime_part("schp", "lip-r18-os16", (97, 97), rounds=2, device="cpu")
    assert part.status == "ran"
    assert set(part.timings) == {"naive fp32", "ours fp32"}


def test_a_wrong_result_is_not_timed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gpu_check.LIMITS, "fp32", 0.0)
    part = torch_part(tiny("schp"), (97, 97), rounds=2, device="cpu")
    assert part.status == "wrong"
    assert not part.timings


def test_a_part_that_cannot_run_says_why() -> None:
    def broken() -> Part:
        raise ImportError("No module named 'tensorrt'")

    part = attempt("TensorRT", broken)
    assert (part.status, part.note) == ("skipped", "ImportError: No module named 'tensorrt'")
    assert "No module named 'tensorrt'" in markdown("some card", "m", [part])


def test_a_part_that_breaks_is_not_called_skipped() -> None:
    def broken() -> Part:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    assert attempt("PyTorch", broken).status == "failed"


def test_without_cuda_the_torch_part_is_skipped(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert torch_part(tiny("schp"), (97, 97), rounds=1, device="cuda").status == "skipped"


def test_without_a_gpu_it_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "graphics_card", lambda: None)
    monkeypatch.setattr("sys.argv", ["gpu_check", "--out", "unused"])
    with pytest.raises(SystemExit, match="no NVIDIA GPU found"):
        gpu_check.main()
