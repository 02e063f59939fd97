"""What the headline run found, as one JSON-ready document: rows of peers and frames, ratios, ceilings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.ceilings import Ceilings, Reached
from benchmarks.peer_frames import STAGES, USUAL, FrameRun
from benchmarks.record import machine_and_commit
from benchmarks.rivals import EAGER, NAIVE, Peer, Peers
from benchmarks.roofline import Placed
from ce2p_runtime.base.files import file_sha256
from ce2p_runtime.judge import GateReport
from ce2p_runtime.measuring.samples import Ratio, noise, paired_ratio_interval
from ce2p_runtime.measuring.timing import Timing

__all__ = ["FRAME", "NETWORK", "Measured", "document_of"]

NETWORK, FRAME = "network: ", "frame: "
"""Before a candidate's name among the rounds."""
Stages = Mapping[str, Mapping[str, Timing]]


@dataclass(frozen=True)
class Measured:
    """Everything that a run gathers before it is summed up."""

    peers: Peers
    frames: Sequence[FrameRun]
    stages: Stages
    """Of one interleaved run, by candidate and stage."""
    distances: Mapping[str, float | None]
    """Relative L2 of logits to PyTorch's, by peer."""
    reports: Mapping[str, GateReport]
    agreement: Mapping[str, float]
    """Share of labels on the timed frames that are those of PyTorch, by frame run."""
    ceilings: Ceilings
    reached: tuple[Reached, ...]
    missing: Mapping[str, str]
    settings: Mapping[str, Any]
    disturbances: tuple[str, ...]


def document_of(measured: Measured) -> dict[str, Any]:
    """Plain types, ready for json.dump."""
    rows = [_peer_row(peer, measured) for peer in measured.peers.ready]
    frames = [_frame_row(run, measured) for run in measured.frames]
    return {
        "machine": machine_and_commit(),
        "settings": dict(measured.settings),
        "peers": rows,
        "frames": frames,
        "ratios": _ratios(rows, frames, measured.stages),
        "ceilings": dataclasses.asdict(measured.ceilings),
        "reached": [dataclasses.asdict(found) for found in measured.reached],
        "missing": dict(measured.missing),
        "warnings": [*measured.disturbances, *_noises(measured.stages)],
    }


def _peer_row(peer: Peer, measured: Measured) -> dict[str, Any]:
    timing = measured.stages[NETWORK + peer.name]["network"]
    report = measured.reports[peer.name]
    placed = Placed.of(peer.name, peer.work, peer.floats, timing.median_ms, measured.ceilings)
    return {
        **placed.to_dict(),
        "ours": peer.ours,
        "precision": peer.precision,
        "kind": peer.kind,
        "floats": peer.floats,
        "work": dataclasses.asdict(peer.work),
        "file": peer.file.name if peer.file else None,
        "sha256": file_sha256(peer.file) if peer.file else None,
        "p50_ms": timing.median_ms,
        "p95_ms": timing.p95_ms,
        "samples_ms": list(timing.samples),
        "over_naive": _ratio(timing, measured.stages[NETWORK + NAIVE]["network"]),
        "relative_l2": measured.distances[peer.name],
        "standing": "reference" if peer.name == EAGER else "passed" if report.passed else "failed",
        "gate": report.to_dict(),
    }


def _frame_row(run: FrameRun, measured: Measured) -> dict[str, Any]:
    stages = measured.stages[FRAME + run.name]
    around = [
        (prepare + labels) / frame
        for prepare, labels, frame in zip(*(stages[s].samples for s in ("prepare", "labels", "frame")), strict=True)
    ]
    usual = {
        title: {what: _ratio(stages[what], measured.stages[FRAME + title][what]) for what in ("frame", "whole")}
        for title in USUAL.values()
        if FRAME + title in measured.stages
    }
    return {
        "name": run.name,
        "peer": run.peer,
        "p50_ms": {stage: stages[stage].median_ms for stage in STAGES},
        "p95_ms": {stage: stages[stage].p95_ms for stage in STAGES},
        "samples_ms": {stage: list(stages[stage].samples) for stage in STAGES},
        "prepare_and_labels_share": float(np.median(around)),
        "over": usual,
        "agreement_with_pytorch": measured.agreement[run.name],
    }


def _ratios(rows: Sequence[Mapping[str, Any]], frames: Sequence[Mapping[str, Any]], stages: Stages) -> dict[str, Any]:
    """The ratios of the best of each of ours that pass the gate, in words -> ratio; a share is a plain number."""
    found: dict[str, Any] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows if row["ours"]):
        best = _fastest(row for row in rows if row["ours"] and row["kind"] == kind)
        if best is None:
            continue
        precision = best["precision"]
        own = stages[NETWORK + best["name"]]["network"]
        rivals = [row for row in rows if not row["ours"] and row["precision"] == precision]
        for rival in [row for row in rows if row["name"] == NAIVE and row not in rivals] + rivals:
            key = f"network: {best['name']} / {rival['name']}"
            found[key] = _ratio(own, stages[NETWORK + rival["name"]]["network"])
        if best["share_of_peak"] is not None:
            found[f"network: {best['name']}, share of the measured peak"] = best["share_of_peak"]
        for frame in frames:
            if frame["name"] != best["name"]:
                continue
            for usual, ratios in frame["over"].items():
                found[f"frame: {best['name']} / {usual}"] = ratios["frame"]
                found[f"frame with PNG: {best['name']} / {usual}"] = ratios["whole"]
            found[f"frame: {best['name']}, share of prepare and labels"] = frame["prepare_and_labels_share"]
    return found


def _fastest(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return min((row for row in rows if row["standing"] != "failed"), key=lambda row: row["p50_ms"], default=None)


def _ratio(one: Timing, other: Timing) -> dict[str, Any]:
    ratio: Ratio = paired_ratio_interval(one.samples, other.samples)
    return dataclasses.asdict(ratio)


def _noises(stages: Stages) -> list[str]:
    """Signs of a disturbed run, for the figures that are reported."""
    found = []
    for name, parts in stages.items():
        for stage in ("network",) if name.startswith(NETWORK) else ("frame",) if name.startswith(FRAME) else ():
            found += [f"{name}: {text}" for text in noise(parts[stage].samples)]
    return found
