"""Everything that needs an NVIDIA GPU, in one unattended run of under 10 minutes: `make gpu-check OUT=folder`.

    python -m benchmarks.gpu_check --out FOLDER [--model schp:lip-r101-os16:473] [--budget 570] [--only PART ...]
        [--files FOLDER]

Kernels against their references on fresh random inputs, kernel times beside their floors, frames and networks beside
their rivals, training, and compute-sanitizer once. Each part is a process of its own, so that a crash, a hang or a
missing package costs that part and no other; what did not run says why. `--files` keeps exported files for the next
run; `python -m benchmarks.gpu.network --files FOLDER --export-only 1` makes them, needs no GPU, and can run beside the
kernel checks. Writes gpu-check.json and gpu-check.md. Exit status 1 when there is no GPU, when no part could run, or
when one broke or was wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import EXPORTS, Part, markdown, run_part, working_folder
from benchmarks.record import machine

SANITIZER_CASES = "3"
"""Checked launches are a hundred times slower, and every kernel is in each case."""


def graphics_card() -> str | None:
    """Name, driver and clocks of the first NVIDIA GPU, or None."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,driver_version,clocks.sm,clocks.mem", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout.strip().splitlines()[0] if answer.returncode == 0 and answer.stdout.strip() else None


def sanitized(tool: str, timeout: float) -> Part:
    """The kernel checks once more, under one of compute-sanitizer's tools."""
    name = f"compute-sanitizer {tool}"
    program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if program is None:
        return Part(name, "skipped", "compute-sanitizer is not installed; it comes with the CUDA toolkit")
    wrapper = [program, "--tool", tool, "--error-exitcode", "9", "--target-processes", "application-only"]
    part = run_part(name, "benchmarks.gpu.kernel_checks", timeout, ["--cases", SANITIZER_CASES], wrapper)
    part.name = name
    return part


def parts_of(model: str, files: str) -> dict[str, tuple[float, Callable[[float], Part]]]:
    """Short name -> (seconds it may take, what runs it), in order of what matters most."""
    package = "benchmarks.gpu"
    network_model = ["--model", model, "--files", files]
    return {
        "checks": (80, lambda seconds: run_part("Kernels", f"{package}.kernel_checks", seconds)),
        "times": (90, lambda seconds: run_part("Kernel times", f"{package}.kernel_times", seconds)),
        "memcheck": (60, lambda seconds: sanitized("memcheck", seconds)),
        "racecheck": (60, lambda seconds: sanitized("racecheck", seconds)),
        "exports": (
            200,
            lambda seconds: run_part(
                EXPORTS, f"{package}.network", seconds, [*network_model, "--export-only", "1"]
            ),
        ),
        "frames": (110, lambda seconds: run_part("Frames", f"{package}.frames", seconds, network_model)),
        # These two stop by themselves a little earlier.
        "network": (
            240,
            lambda seconds: run_part(
                "Network", f"{package}.network", seconds, [*network_model, "--budget", str(int(seconds * 0.8))]
            ),
        ),
        # Whatever the others left: two runs, and about a minute to draw people, build networks and score.
        "training": (
            600,
            lambda seconds: run_part(
                "Training", f"{package}.training", seconds, ["--seconds", str(max(15, int(seconds - 60) // 2))]
            ),
        ),
    }  # fmt: skip


def report(card: str, facts: dict[str, Any], model: str, parts: list[Part]) -> str:
    """The Markdown report. `facts`: what `machine()` says."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return f"# GPU check: {model}\n\n{card}\n\n{versions}; commit {facts['commit']}\n\n{markdown(parts)}"


def main() -> None:
    """Command line of this check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="schp:lip-r101-os16:473", metavar="FAMILY:NAME:SIZE")
    parser.add_argument("--budget", type=float, default=570, help="seconds for everything")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PART",
        help="checks, times, memcheck, racecheck, exports, frames, network, training",
    )
    parser.add_argument("--files", default="", metavar="FOLDER", help="where exported files are kept")
    options = parser.parse_args()
    card = graphics_card()
    if card is None:
        sys.exit("error: no NVIDIA GPU found (nvidia-smi is missing or lists none); run this on a machine that has one")
    with working_folder(options.files) as files:
        _run(options, card, parts_of(options.model, str(files)))


def _run(options: argparse.Namespace, card: str, available: dict[str, tuple[float, Callable[[float], Part]]]) -> None:
    unknown = set(options.only or ()) - set(available)
    if unknown:
        sys.exit(f"error: no part {', '.join(sorted(unknown))}; expected {', '.join(available)}")
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + options.budget
    parts: list[Part] = []
    for name in options.only or available:
        limit, run = available[name]
        parts.append(run(min(limit, deadline - time.monotonic())))
        print(markdown(parts[-1:]), flush=True)
        # After every part: whatever ends this run, what was measured is kept.
        _write(options.out, card, options.model, parts)
    if any(part.status in {"wrong", "failed"} for part in parts):
        sys.exit("error: a part broke or was wrong; see the report")
    if all(part.status == "skipped" for part in parts if part.name != EXPORTS):
        sys.exit("error: no part could run; the report says what each one lacks")


def _write(folder: Path, card: str, model: str, parts: list[Part]) -> None:
    facts = machine()
    document = {"machine": facts, "gpu": card, "model": model, "parts": [dataclasses.asdict(p) for p in parts]}
    (folder / "gpu-check.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "gpu-check.md").write_text(report(card, facts, model, parts))


if __name__ == "__main__":
    main()
