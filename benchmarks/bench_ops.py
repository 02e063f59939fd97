"""Benchmark of the fused ops on the CPU against OpenCV and PyTorch (benchmarks/ops): check, then time, interleaved.

    python -m benchmarks.bench_ops [--frames 720p 1080p 4k] [--threads 1] [--people 1] [--json FILE]

Exit status 1 when a check fails; nothing is timed then.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2

from benchmarks.ops.cases import CpuSizes
from benchmarks.record import Record, write_records
from ce2p_runtime.measuring.timing import interleave, paired_ratio
from ce2p_runtime.ops import FUSED_OPS

FRAMES = {"720p": (720, 1280), "1080p": (1080, 1920), "4k": (2160, 3840), "portrait": (1920, 1080)}


def bench_frame(name: str, options: argparse.Namespace) -> list[Record]:
    """Check and time all ops for one frame size."""
    sizes = CpuSizes(FRAMES[name], (options.input, options.input), options.classes, options.people)
    settings = {"frame": name, "input": options.input, "threads": options.threads}
    return [
        Record(case.subject, settings | case.settings, interleave(case.candidates, options.rounds), case.checks)
        for op in FUSED_OPS.values()
        for case in op.part("benchmarks.ops").cpu_cases(sizes)
    ]


def table(records: list[Record]) -> str:
    """The records as aligned text; "fused is" is the median of the rounds' candidate / fused."""
    heads = f"{'candidate':<11}{'median ms':>10}{'p95 ms':>10}{'fused is':>10}{'check':>12}"
    lines = [f"{'op':<18}{'frame':<10}{heads}"]
    for record in records:
        fused = record.timings["fused"]
        for name, timing in record.timings.items():
            ratio = "" if name == "fused" else f"{paired_ratio(timing, fused):.1f}x"
            lines.append(
                f"{record.subject:<18}{record.settings['frame']:<10}{name:<11}{timing.median_ms:>10.3f}"
                f"{timing.p95_ms:>10.3f}{ratio:>10}{record.checks[name]:>12.6f}"
            )
    checks = dict.fromkeys(f"{record.subject.split()[0]} = {record.checks['what']}" for record in records)
    return "\n".join([*lines, f"check: {'; '.join(checks)}"])


def main() -> int:
    """Command line; see the module docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", nargs="+", choices=list(FRAMES), default=["720p", "1080p", "4k"])
    parser.add_argument("--threads", type=int, default=1, help="threads for OpenCV and torch")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--input", type=int, default=473, help="side of the network's input in pixels")
    parser.add_argument("--people", type=int, default=1, help="figures in the scene")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, checks and every sample")
    options = parser.parse_args()
    _set_threads(options.threads)
    records: list[Record] = []
    try:
        for name in options.frames:
            records += bench_frame(name, options)
    except AssertionError as error:
        print(f"check failed, nothing timed: {error}", file=sys.stderr)
        return 1
    print(table(records))
    if options.json:
        write_records(options.json, records)
    return 0


def _set_threads(count: int) -> None:
    cv2.setNumThreads(count)
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(count)


if __name__ == "__main__":
    sys.exit(main())
