"""The report of a GPU check: its headline lines, then every part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.gpu.parts import Part, Row, markdown
from benchmarks.gpu.targets import FRAME_MS, NETWORK_MS, THROUGHPUT

COMPILED_FOLDED = "torch.compile fp16, folded"
"""The rival that the headline's ratios are to; `network` gives its rows this name."""
FRAME_ROW = "kernels and fused network, one graph"
"""The frame that the target is about; `frames` gives its row this name."""
_OURS = ("ours", "PyTorch fp16 graph, folded")
"""How the names of our ways to run the network begin."""


def headline(parts: Sequence[Part]) -> dict[str, dict[str, float | str]]:
    """What a reader wants to know first, each with its target: the frame's p50 and the throughput at batch 16.

    Ratios are to torch.compile on the folded network, from the same interleaved run. What was not measured is missing.
    """
    found: dict[str, dict[str, float | str]] = {}
    frames = [row for row in _rows(parts, "frame", "p50 ms") if row["frame"] == FRAME_ROW]
    if frames:
        p50 = float(frames[0]["p50 ms"])
        found["frame p50 ms"] = {"measured": p50, "target": FRAME_MS.value, "measured / target": p50 / FRAME_MS.value}
    for batch, name in ((1, "network ms, batch 1"), (16, "images/s, batch 16")):
        line = _network(parts, batch)
        if line:
            found[name] = line
    return found


def _network(parts: Sequence[Part], batch: int) -> dict[str, float | str]:
    """Our best way at a batch size beside the target and beside torch.compile on the folded network."""
    timed = [row for row in _rows(parts, "network", "median ms") if row["batch"] == batch]
    ours = [row for row in timed if str(row["network"]).startswith((*_OURS, "fused,", "folded,"))]
    if not ours:
        return {}
    best = min(ours, key=lambda row: float(row["median ms"]))
    ms = float(best["median ms"])
    measured, target = (ms, NETWORK_MS["fused", 1].value) if batch == 1 else (1e3 * batch / ms, THROUGHPUT.value)
    line: dict[str, float | str] = {"measured": measured, "target": target, "measured / target": measured / target}
    compared = [row for row in ours if "of compiled, folded" in row]
    if compared:
        line["time / torch.compile on the folded network"] = min(float(row["of compiled, folded"]) for row in compared)
    line["by"] = str(best["network"])
    return line


def _rows(parts: Sequence[Part], name: str, value: str) -> list[Row]:
    return [row for part in parts for row in part.rows if name in row and value in row]


def report(card: str, facts: dict[str, Any], model: str, parts: Sequence[Part], rehearsal: bool) -> str:
    """The Markdown report. `facts`: what `machine_and_commit()` says."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    lines = [f"# GPU check: {model}", "", card, "", f"{versions}; commit {facts['commit']}", ""]
    if rehearsal:
        lines += ["**A rehearsal on a CPU: that it ran is all it says. Its figures mean nothing.**", ""]
    for name, values in headline(parts).items():
        shown = ", ".join(f"{key} {_shown(value)}" for key, value in values.items())
        lines.append(f"- {name}: {shown}")
    if not headline(parts):
        lines.append("- no headline: neither frames nor networks were measured")
    return "\n".join([*lines, "", markdown(parts)])


def _shown(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else value
