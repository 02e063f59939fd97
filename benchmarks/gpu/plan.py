"""What the GPU check does, in order of worth: each part's program, the seconds it should take and those it may take."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.gpu.parts import Part, run_part
from benchmarks.gpu.runtimes import gpu_runtimes

_SANITIZER_CASES = 3
"""Checked launches are a hundred times slower, and every kernel is in each case."""
_WITH_DRIVER = "tests.cuda_on_cpu.with_driver"
REHEARSED_MODEL = "schp:lip-r18-os16:65"
_STARTING = 12.0
"""Seconds of a part's time that go by before its work begins and after it has ended."""
_PATIENCE = 8
"""How much longer a part may take in a rehearsal, where a CPU does a GPU's work."""


@dataclass(frozen=True)
class PlannedPart:
    """One part before it runs."""

    key: str
    """What `--only` calls it."""
    title: str
    module: str
    expected: float
    """Seconds it should take on an H200."""
    limit: float
    """Seconds after which it is stopped."""
    arguments: tuple[str, ...] = ()
    tool: str = ""
    """Of compute-sanitizer, under which it runs."""
    kernels: bool = False
    """Whether it launches kernels of ours: in a rehearsal they are emulated."""
    measures: bool = True
    """Whether it says something about the product, rather than about the machine."""
    plans_ahead: bool = False
    """Whether it is told its seconds, to spend them on what matters most."""
    stretches: bool = False
    """Whether it may have what parts before it left of their time."""
    rehearsal: bool = False

    def run(self, seconds: float) -> Part:
        """Run it for at most so long; never raises."""
        if self.tool and self.rehearsal:
            return Part(self.title, "skipped", "a rehearsal has no GPU to check")
        wrapper: tuple[str, ...] = ()
        if self.tool:
            program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
            if program is None:
                return Part(self.title, "skipped", "compute-sanitizer is not installed; it comes with the CUDA toolkit")
            wrapper = (program, "--tool", self.tool, "--error-exitcode", "9", "--target-processes", "application-only")
        launcher = _WITH_DRIVER if self.rehearsal and self.kernels else ""
        told = ("--seconds", f"{seconds - _STARTING:.0f}") if self.plans_ahead else ()
        arguments = (*self.arguments, *told)
        part = run_part(self.title, f"benchmarks.gpu.{self.module}", seconds, arguments, wrapper, launcher=launcher)
        part.name = self.title
        return part


def _checked(tool: str, cases: int, expected: float, limit: float) -> PlannedPart:
    """Every kernel under compute-sanitizer."""
    arguments = ("--cases", str(cases))
    return PlannedPart(
        tool, f"compute-sanitizer {tool}", "kernel_checks", expected, limit, arguments=arguments, tool=tool
    )


PARTS = (
    PlannedPart("machine", "Machine and ceilings", "description", 20, 35, kernels=True, measures=False),
    PlannedPart("kill", "Kill test: cuDNN's fused convolutions", "kill_test", 60, 95, plans_ahead=True),
    PlannedPart(
        "checks", "Kernels against their references", "kernel_checks", 15, 25, arguments=("--cases", "12"), kernels=True
    ),
    PlannedPart("times", "Kernel times beside their floors", "kernel_times", 30, 55, kernels=True),
    PlannedPart("exports", "Exports", "exports", 90, 110, measures=False),
    PlannedPart("frames", "Frames", "frames", 35, 50, kernels=True),
    PlannedPart("network", "Networks", "network", 125, 135, plans_ahead=True, stretches=True),
    _checked("memcheck", _SANITIZER_CASES, 12, 20),
    _checked("racecheck", _SANITIZER_CASES, 10, 15),
    PlannedPart(
        "training", "Training", "training", 35, 45, arguments=("--scored", "0", "--pictures", "160", "--seconds", "8")
    ),
)


def plan_of(only: Sequence[str], model: str, files: Path, out: Path, *, rehearsal: bool) -> list[PlannedPart]:
    """The parts to run, in order, with their arguments. Raises ValueError for a name in `only` that is none.

    Exports are made where something runs them, or where they are asked for.
    """
    unknown = set(only) - {part.key for part in PARTS}
    if unknown:
        known = ", ".join(part.key for part in PARTS)
        raise ValueError(f"no part {', '.join(sorted(unknown))}; expected {known}")
    of_network = ("--model", model, "--files", str(files))
    more: dict[str, tuple[str, ...]] = {
        "machine": ("--out", str(out)),
        "kill": of_network,
        "exports": of_network,
        "frames": of_network,
        "network": of_network,
    }
    chosen = [part for part in PARTS if part.key in only or not only]
    if not only and (rehearsal or not gpu_runtimes()[0]):
        chosen = [part for part in chosen if part.key != "exports"]
    planned = [replace(part, arguments=(*part.arguments, *more.get(part.key, ()))) for part in chosen]
    return [_rehearsed(part) for part in planned] if rehearsal else planned


def plan_table(parts: Sequence[PlannedPart], budget: float) -> str:
    """What is going to happen, in lines for people."""
    lines = [f"{part.key:10} {part.title:40} {part.expected:5.0f} s, at most {part.limit:4.0f} s" for part in parts]
    expected, limit = sum(part.expected for part in parts), sum(part.limit for part in parts)
    lines.append(f"{'':10} {'all, one after the other':40} {expected:5.0f} s, at most {limit:4.0f} s")
    if limit > budget:
        lines.append(f"more than the budget of {budget:.0f} s: the last parts may find no time left (--budget SECONDS)")
    return "\n".join(lines)


def _rehearsed(part: PlannedPart) -> PlannedPart:
    """The same part on a CPU: smallest sizes, and time for it."""
    on_cpu, tiny, once = ("--device", "cpu"), ("--scale", "tiny"), ("--rounds", "1")
    arguments: dict[str, tuple[str, ...]] = {
        "machine": (*on_cpu, *tiny),
        "kill": (*on_cpu, *once, "--batches", "1,2"),
        "checks": ("--cases", "1"),
        "times": (*on_cpu, *tiny, *once),
        "frames": (*on_cpu, *tiny, *once),
        "network": (*on_cpu, *once, "--waves", "1"),
        "training": (
            *on_cpu,
            "--seconds",
            "1",
            "--pictures",
            "4",
            "--model",
            "lip-r18-os16",
            "--set",
            "input_size=64;batch=2;epochs=1",
        ),
    }
    return replace(
        part, arguments=(*part.arguments, *arguments.get(part.key, ())), limit=part.limit * _PATIENCE, rehearsal=True
    )
