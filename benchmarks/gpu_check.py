"""Everything that needs an NVIDIA GPU, in order of worth, in one unattended run of under 8 minutes: `make gpu-check`.

    python -m benchmarks.gpu_check --out FOLDER [--plan] [--only PART ...] [--budget 475] [--files FOLDER]
        [--model schp:lip-r101-os16:473] [--rehearse]

The machine and its ceilings; the kill test of cuDNN's fused convolutions; kernels, checked, then beside their floors;
whole frames; networks beside their rivals; compute-sanitizer; training. Each part is a process of its own with a time
limit, so that a crash, a hang or a missing package costs that part and no other; what did not run says why. The report
is written after each part: gpu-check.json and gpu-check.md, headline first. A plan is printed before anything runs;
`--plan` prints it alone and needs no GPU.

`--files` keeps what is prepared for the next run (`python -m benchmarks.gpu.exports --files FOLDER --anyway 1` makes
ONNX files beforehand). `--rehearse` runs all of it without a GPU, small and on stand-ins: its figures mean nothing.
Exit status 1 when there is no GPU, when no part could run, or when one broke or was wrong.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.parts import Part, markdown, working_folder
from benchmarks.gpu.plan import REHEARSED_MODEL, PlannedPart, plan_of, plan_table
from benchmarks.gpu.summary import headline, report
from benchmarks.record import machine_and_commit, write_json
from ce2p.api.documents import write_text

BUDGET = 475.0
"""Seconds for everything. 8 minutes, less what reading and writing takes."""


def graphics_card() -> str | None:
    """Name, driver and clocks of the first NVIDIA GPU, or None."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,driver_version,clocks.max.sm,clocks.sm,clocks.mem", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return None
    return answer.stdout.strip().splitlines()[0] if answer.returncode == 0 and answer.stdout.strip() else None


def main() -> None:
    """Command line of this check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="schp:lip-r101-os16:473", metavar="FAMILY:NAME:SIZE")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for everything")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="names as --plan prints them")
    parser.add_argument("--files", default="", metavar="FOLDER", help="where prepared files are kept")
    parser.add_argument("--plan", action="store_true", help="print the plan and stop")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU: small, on stand-ins")
    options = parser.parse_args()
    if options.rehearse:
        options.model = REHEARSED_MODEL
    with working_folder(options.files) as files:
        try:
            parts = plan_of(options.only, options.model, files, options.out, rehearsal=options.rehearse)
        except ValueError as error:
            sys.exit(f"error: {error}")
        budget = sum(part.limit for part in parts) if options.rehearse else options.budget
        print(plan_table(parts, budget), flush=True)
        if options.plan:
            return
        card = "no GPU: a rehearsal" if options.rehearse else graphics_card()
        if card is None:
            sys.exit(
                "error: no NVIDIA GPU found (nvidia-smi is missing or lists none); run this on a machine that has one, "
                "or try it with --rehearse"
            )
        _run(options, card, parts, budget)


def _run(options: argparse.Namespace, card: str, planned: Sequence[PlannedPart], budget: float) -> None:
    deadline = time.monotonic() + budget
    parts: list[Part] = []
    for number, part in enumerate(planned):
        left = deadline - time.monotonic()
        spare = left - sum(later.limit for later in planned[number + 1 :])
        seconds = max(part.limit, spare) if part.stretches else part.limit
        parts.append(part.run(min(seconds, left)))
        print(markdown(parts[-1:]), flush=True)
        # After every part: whatever ends this run, what was measured is kept.
        _write(options, card, parts)
    if any(part.status in {"wrong", "failed"} for part in parts):
        sys.exit("error: a part broke or was wrong; see the report")
    measured = [part for part, plan in zip(parts, planned, strict=True) if plan.measures]
    if measured and all(part.status == "skipped" for part in measured):
        sys.exit("error: no part could run; the report says what each one lacks")


def _write(options: argparse.Namespace, card: str, parts: Sequence[Part]) -> None:
    facts = machine_and_commit()
    document = {
        "machine": facts,
        "gpu": card,
        "model": options.model,
        "rehearsal": options.rehearse,
        "headline": headline(parts),
        "parts": [part.as_dict() for part in parts],
    }
    write_json(options.out / "gpu-check.json", document)
    write_text(options.out / "gpu-check.md", report(card, facts, options.model, parts, options.rehearse))


if __name__ == "__main__":
    main()
