"""How near a network comes to this machine's measured limits (Williams, Waterman and Patterson, CACM 52(4), 2009).

    python -m benchmarks.roofline [a.onnx b.onnx ...] [--backends onnxruntime,openvino] [--rounds 11] [--out DIR]

The ceilings are measured first (see ceilings.py), then the files, made by `ce2p export`, are timed on each backend. A
network's ideal time is what its FLOPs take at the ceiling of their arithmetic, added up; its share is that time over
the measured one. Beside it stands the time its bytes take at the speed of a memory copy. Writes roofline.json, and
roofline.png and .svg where matplotlib is installed.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.ceiling_sources import sources
from benchmarks.ceilings import REPETITIONS, Ceilings, Reached, ceilings_of, measure
from benchmarks.record import machine_and_commit, write_json
from benchmarks.workload import Arithmetic, Workload, workload_of_file
from ce2p.benchmarking.plots import GREY, drawn_if_possible, plotting, save
from ce2p_runtime.backends import Backend, open_backend
from ce2p_runtime.measuring.timing import interleave

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: dict[str, str] = {"fp32": "#0072B2", "bf16": "#E69F00", "int8": "#009E73"}
"""Of Okabe and Ito: told apart with any colour vision."""
_MARKERS = "osD^vP*X<>"
_BESIDE: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9}


def ideal_ms(work: Workload, floats: Arithmetic, ceilings: Ceilings) -> float | None:
    """Milliseconds of all FLOPs at the ceiling of their arithmetic; None where a ceiling it needs is not known."""
    total = 0.0
    for arithmetic, flops in work.by_arithmetic(floats).items():
        rate = ceilings.of(arithmetic)
        if rate is None:
            return None
        total += flops / rate
    return total * 1e3


def memory_ms(work: Workload, floats: Arithmetic, ceilings: Ceilings) -> float | None:
    """Milliseconds of all bytes at the speed of a memory copy."""
    return work.bytes(floats) / ceilings.copy * 1e3 if ceilings.copy else None


@dataclass(frozen=True)
class Placed:
    """A network's run beside the ceilings."""

    name: str
    work: Workload
    floats: Arithmetic
    """What the products that are not quantised are computed in."""
    measured_ms: float
    ideal_ms: float | None
    memory_ms: float | None

    @classmethod
    def of(cls, name: str, work: Workload, floats: Arithmetic, measured_ms: float, ceilings: Ceilings) -> Placed:
        """Put a measured time beside the ideal ones."""
        ideal, memory = ideal_ms(work, floats, ceilings), memory_ms(work, floats, ceilings)
        return cls(name, work, floats, measured_ms, ideal_ms=ideal, memory_ms=memory)

    @property
    def share(self) -> float | None:
        """Of the peak of its arithmetic."""
        return self.ideal_ms / self.measured_ms if self.ideal_ms is not None else None

    @property
    def intensity(self) -> float:
        """FLOPs per byte."""
        return self.work.flops / self.work.bytes(self.floats)

    @property
    def arithmetic(self) -> Arithmetic:
        """That of most of its FLOPs."""
        split = self.work.by_arithmetic(self.floats)
        return max(split, key=lambda arithmetic: split[arithmetic])

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for json.dump."""
        return {
            "name": self.name,
            "gflops": {a: flops / 1e9 for a, flops in self.work.by_arithmetic(self.floats).items()},
            "megabytes": self.work.bytes(self.floats) / 1e6,
            "flops_per_byte": self.intensity,
            "measured_ms": self.measured_ms,
            "ideal_ms": self.ideal_ms,
            "memory_ms": self.memory_ms,
            "share_of_peak": self.share,
        }


def float_arithmetic(backend: str, precision: str) -> Arithmetic:
    """What our CPU backends compute products in that are not quantised: float32, unless the file asks for bfloat16 of
    the one that has it."""
    return "bf16" if (backend, precision) == ("openvino", "bf16") else "fp32"


def ceiling_lines(reached: Sequence[Reached]) -> list[tuple[str, str, str]]:
    """(resource, best rate, by what) in words, a line for each resource."""
    lines: list[tuple[str, str, str]] = []
    for resource in dict.fromkeys(found.resource for found in reached):
        best = max((found for found in reached if found.resource == resource), key=lambda found: found.rate)
        unit = "GB/s" if resource == "copy" else "GOP/s" if resource == "int8" else "GFLOP/s"
        lines.append((resource, f"{best.rate / 1e9:.1f} {unit}", best.name))
    return lines


def show(reached: Sequence[Reached], placed: Sequence[Placed], console: Console) -> None:
    """Print all sources, the ceilings among them, and the networks."""
    grid = Table(title="Ceilings: the best of each resource counts", title_justify="left")
    for column in ("resource", "G/s", "reached by"):
        grid.add_column(column, justify="right" if column == "G/s" else "left")
    best = {name for _, _, name in ceiling_lines(reached)}
    for found in sorted(reached, key=lambda found: (found.resource, -found.rate)):
        style = "bold" if found.name in best else "dim"
        grid.add_row(found.resource, f"{found.rate / 1e9:.1f}", found.name, style=style)
    console.print(grid)
    if not placed:
        return
    grid = Table(title="Networks", title_justify="left")
    for column in ("", "GFLOP", "MB", "FLOP/byte", "ms", "ideal ms", "copy ms", "share of peak"):
        grid.add_column(column, justify="right" if column else "left")
    for row in placed:
        flops = " + ".join(f"{f / 1e9:.1f} {a}" for a, f in row.work.by_arithmetic(row.floats).items())
        grid.add_row(
            row.name,
            flops,
            f"{row.work.bytes(row.floats) / 1e6:.0f}",
            f"{row.intensity:.0f}",
            f"{row.measured_ms:.1f}",
            _ms(row.ideal_ms),
            _ms(row.memory_ms),
            "" if row.share is None else f"{row.share:.1%}",
        )
    console.print(grid)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def plot_roofline(placed: Sequence[Placed], ceilings: Ceilings, title: str, path: Path) -> list[Path]:
    """`path` with the suffixes .png and .svg: roofs, and a point for each network. Raises ModuleNotFoundError."""
    with plotting():
        from matplotlib.figure import Figure
        from matplotlib.ticker import NullFormatter

        figure = Figure(figsize=(9, 4.8 + 0.12 * len(placed)), layout="constrained")
        axes = figure.add_subplot()
        figure.suptitle("Roofline of this CPU, all ceilings measured", x=0.01, ha="left", fontsize=12, weight="bold")
        axes.set_title(title, loc="left", fontsize=8.5, color=GREY)
        _draw_roofs(axes, placed, ceilings)
        for index, row in enumerate(placed):
            share = "" if row.share is None else f" ({row.share:.0%} of peak)"
            axes.plot(
                [row.intensity],
                [row.work.flops / row.measured_ms / 1e6],
                _MARKERS[index % len(_MARKERS)],
                color=COLOURS[row.arithmetic],
                markersize=8,
                markeredgecolor="white",
                label=f"{row.name}{share}",
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("FLOP per byte that convolutions and matrix products read and write")
        axes.set_ylabel("GFLOP/s (int8: GOP/s)")
        axes.grid(which="major", color="#dddddd", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        if placed:
            figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
        return save(figure, path.with_suffix(""))


def _draw_roofs(axes: Axes, placed: Sequence[Placed], ceilings: Ceilings) -> None:
    left, right = 1.0, max(2000.0, *(4 * row.intensity for row in placed)) if placed else 2000.0
    intensities = np.geomspace(left, right, 400)
    for arithmetic, colour in COLOURS.items():
        peak = ceilings.of(arithmetic)  # type: ignore[arg-type]
        if peak is None:
            continue
        slope = ceilings.copy * intensities if ceilings.copy else np.full_like(intensities, np.inf)
        axes.plot(intensities, np.minimum(slope, peak) / 1e9, color=colour, linewidth=1.8, zorder=1)
        at, text = (right, peak / 1e9), f"{arithmetic}: {peak / 1e9:.0f}"
        axes.annotate(text, at, xytext=(-4, 4), ha="right", va="bottom", color=colour, weight="bold", **_BESIDE)
    if ceilings.copy:
        at, text = (left, ceilings.copy * left / 1e9), f"memory copy: {ceilings.copy / 1e9:.1f} GB/s"
        axes.annotate(text, at, xytext=(22, 8), va="top", color="#555555", **_BESIDE)


def _input(backend: Backend) -> np.ndarray[Any, Any]:
    height, width = backend.metadata.input_size
    rng, count = np.random.default_rng(0), backend.batch or 1
    if backend.metadata.input_kind == "uint8":
        return rng.integers(0, 256, (count, height, width, 3), np.uint8)
    return rng.standard_normal((count, 3, height, width), np.float32).astype(backend.metadata.io)


def _timed(files: Sequence[Path], backends: Sequence[str], rounds: int, threads: int | None) -> dict[str, Any]:
    """(file, backend, Timing) by name, interleaved."""
    pairs = product(files, backends)
    opened = {f"{file.stem}, {name}": (file, open_backend(file, name, "cpu", threads)) for file, name in pairs}
    inputs = {name: _input(backend) for name, (_, backend) in opened.items()}
    timings = interleave({name: partial(backend.run, inputs[name]) for name, (_, backend) in opened.items()}, rounds)
    return {name: (file, backend, timings[name]) for name, (file, backend) in opened.items()}


def main() -> None:
    """Command line of this benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="made by ce2p export, for a batch of 1")
    parser.add_argument("--backends", default="onnxruntime,openvino")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of each source of a ceiling")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    console = Console()
    with console.status("measuring ceilings") as status:
        reached, missing = measure(list(sources(options.threads)), options.repetitions, status.update)
    ceilings = ceilings_of(reached)
    placed, samples = [], {}
    if options.files:
        with console.status("timing networks"):
            runs = _timed(options.files, options.backends.split(","), options.rounds, options.threads)
        for name, (file, backend, timing) in runs.items():
            floats = float_arithmetic(backend.name, backend.metadata.precision)
            placed.append(Placed.of(name, workload_of_file(file), floats, timing.median_ms, ceilings))
            samples[name] = timing.samples
    show(reached, placed, console)
    for name, reason in missing.items():
        console.print(f"not measured: {name}: {reason}", highlight=False)
    facts = machine_and_commit()
    document = {
        "machine": facts,
        "threads": options.threads or "default",
        "ceilings": dataclasses.asdict(ceilings),
        "reached": [dataclasses.asdict(found) for found in reached],
        "not_measured": missing,
        "networks": [row.to_dict() for row in placed],
        "samples_ms": samples,
    }
    write_json(options.out / "roofline.json", document)
    drawn_if_possible(lambda: plot_roofline(placed, ceilings, facts["cpu"], options.out / "roofline.png"))


if __name__ == "__main__":
    main()
