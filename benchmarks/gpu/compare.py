"""Candidates of one network, batch by batch: made, held against the reference, timed in turn, and written down."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.gpu.networks_on_disk import NetworkFiles
from benchmarks.gpu.parts import Part, SkippedError
from benchmarks.gpu.workers import Entry, Outcome, Workers
from ce2p_runtime.measuring.timing import Timing

# TF32 is off, so float32 on a GPU differs from the CPU by summation order alone: the limit of ce2p_runtime.precisions.
# Half precision keeps 11 bits, and 120 layers add up: 3e-2 separates rounding from a wrong layer (0.1 and more).
# INT8 of random weights may be off by 0.2: this limit catches another network, not a badly calibrated one. Whether an
# INT8 file is good enough, the gate says, on a trained network.
LIMITS = {"fp32": 1e-4, "fp16": 3e-2, "int8": 0.5}


def compare(
    part: Part, groups: Sequence[Sequence[Entry]], files: NetworkFiles, seconds: float, rounds: int
) -> dict[tuple[str, int], Timing]:
    """Add a row for every entry of `groups`, each group in a process; returns the times of those that were timed.

    `seconds`: what setting all up may take. Interleaved are the entries of one batch size. Raises SkippedError where
    none could run.
    """
    started = time.perf_counter()
    timings: dict[tuple[str, int], Timing] = {}
    with Workers(groups, files.reference(), files.turn, seconds) as workers:
        workers.ready()
        outcomes = [workers.outcomes[entry.key] for group in groups for entry in group]
        part.facts.setdefault("set-up seconds", []).append(time.perf_counter() - started)
        right = [outcome for outcome in outcomes if _right(part, outcome)]
        part.save()
        for batch in sorted({outcome.entry.batch for outcome in right}):
            keys = [outcome.entry.key for outcome in right if outcome.entry.batch == batch]
            samples = workers.time(keys, rounds)
            for key in keys:
                outcome = workers.outcomes[key]
                if key in samples:
                    timings[key] = Timing.of(samples[key])
                    _timed_row(part, outcome, timings[key])
                else:
                    _problem_row(part, outcome)
            part.save()
    if not timings:
        raise SkippedError("no candidate could run; see the rows" if part.rows else "no candidate was asked for")
    return timings


def _right(part: Part, outcome: Outcome) -> bool:
    """Whether an entry may be timed; otherwise its row says why not."""
    if outcome.problem:
        _problem_row(part, outcome)
        return False
    if outcome.distance < LIMITS[outcome.precision]:
        return True
    name, batch = outcome.entry.key
    part.blame("wrong", f"{name} at batch {batch}: relative L2 {outcome.distance:.1e} to PyTorch on the CPU")
    part.rows.append({"network": name, "batch": batch, "relative L2": outcome.distance, "note": "wrong, not timed"})
    return False


def _problem_row(part: Part, outcome: Outcome) -> None:
    name, batch = outcome.entry.key
    part.rows.append({"network": name, "batch": batch, "note": outcome.problem})
    if not outcome.expected:
        part.blame("failed", f"{name} at batch {batch}: {outcome.problem}")


def _timed_row(part: Part, outcome: Outcome, timing: Timing) -> None:
    name, batch = outcome.entry.key
    part.rows.append(
        {
            "network": name,
            "batch": batch,
            "median ms": timing.median_ms,
            "p95 ms": timing.p95_ms,
            "images/s": 1e3 * batch / timing.median_ms,
            "relative L2": outcome.distance,
            "same labels": f"{outcome.agreement:.3%}",
            "set-up s": round(outcome.set_up, 1),
        }
    )
    part.facts.setdefault("samples", {})[f"{name} x{batch}"] = timing.samples
    if outcome.facts:
        part.facts.setdefault("candidates", {})[name] = dict(outcome.facts)
