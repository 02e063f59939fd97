"""The rounds of a benchmark: every candidate's stages and rates, between two looks at the machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ce2p.benchmarking.machine_state import MachineState
from ce2p_runtime.base.files import file_sha256
from ce2p_runtime.measuring.timing import REST, Timing, interleave_stages

from .candidates import Candidate, NotMeasured, Opening
from .document import Judgement, Row
from .throughput import batch_sweep, stream_rates, sweep_rounds

__all__ = ["Measured", "measure"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Measured:
    """Times by candidate, and the machine while they were taken."""

    stages: Mapping[str, Mapping[str, Timing]]
    """Milliseconds per frame by stage, of the same rounds for all."""
    throughput: Mapping[str, Mapping[int, Timing]]
    """Milliseconds per frame by batch size; empty where it was not wanted."""
    stream: Mapping[str, Mapping[str, Timing]]
    before: MachineState
    after: MachineState

    def row(self, candidate: Candidate, judgement: Judgement) -> Row:
        """Everything about one candidate."""
        parser = candidate.parser
        assert parser.model is not None  # noqa: S101  (candidates are opened from files)
        metadata = parser.metadata
        return Row(
            name=candidate.name,
            model=candidate.short,
            file=str(parser.model),
            sha256=file_sha256(parser.model),
            precision=metadata.precision,
            weights=metadata.weights,
            input_size=metadata.input_size,
            backend=parser.backend.name,
            device=parser.backend.device,
            batch=parser.group_size,
            stages=self.stages[candidate.name],
            throughput=self.throughput.get(candidate.name, {}),
            stream=self.stream.get(candidate.name, {}),
            judgement=judgement,
            untrained=metadata.untrained,
        )


def measure(
    candidates: Sequence[Candidate],
    opening: Opening,
    *,
    rounds: int,
    warmup: int,
    batches: Sequence[int] | None,
    not_measured: NotMeasured,
    progress: Progress,
    note: Callable[[str], None],
) -> Measured:
    """Stage times in interleaved rounds, then throughput at `batches` (None: not wanted), which is announced.

    The machine is looked at when the first round that counts begins, and after the last one.
    """
    before = MachineState.now()

    def each_round(done: int, total: int) -> None:
        nonlocal before
        if done == warmup:
            before = MachineState.now()
        progress(done, total)

    stages = interleave_stages({c.name: c for c in candidates}, rounds, warmup, REST, each_round)
    measured = Measured(stages, {}, {}, before, MachineState.now())
    if batches is None:
        return measured
    note("measuring throughput ...")
    sweep = batch_sweep(candidates, batches, opening, sweep_rounds(rounds), not_measured)
    return dataclasses.replace(measured, throughput=sweep, stream=stream_rates(candidates, sweep_rounds(rounds)))
