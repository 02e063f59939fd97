"""Build the TensorRT plan of every named network, and print how long it took and what TensorRT made of it.

Runs without a GPU, with the stand-in of tests/trt_on_cpu: the plans are whole, but made for no particular device. The
seconds say that every network builds, not how long a GPU takes to choose kernels.

    python -m benchmarks.engine_build [--families schp ...] [--datasets lip ...] [--backbones r50 r101] [--strides 8 16]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Literal, cast

import onnx_ir as ir

from benchmarks.record import write_json
from ce2p.families import FAMILIES, default_input_size, preprocessing_for
from ce2p.labels import label_set
from ce2p.models import CE2PConfig, untrained
from ce2p_export import GraphOptions, deploy
from ce2p_export.onnx_graph import build_graph
from ce2p_export.tensorrt import BuildSettings, BuiltPlan, build_plan
from ce2p_runtime.measuring.machine import machine
from tests.trt_on_cpu import bring_up


def main() -> None:
    """Parse arguments, build, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--datasets", nargs="+", default=["lip"], help="others differ in size and in the last layer")
    parser.add_argument("--backbones", nargs="+", default=["r50", "r101"])
    parser.add_argument("--strides", nargs="+", type=int, default=[8, 16])
    parser.add_argument("--size", type=int, help="input side; default: each family's own")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = bring_up()
    if found.module is None:
        raise SystemExit(f"error: {found.reason}")
    print(f"TensorRT {found.module.__version__}{', stand-in without a GPU' if found.stand_in else ''}")
    rows = []
    for family, dataset, backbone, stride in itertools.product(
        options.families, options.datasets, options.backbones, options.strides
    ):
        side = options.size or default_input_size(family, dataset)
        graph = GraphOptions((side, side), options.batch, precision=cast(Literal["fp32", "fp16"], options.precision))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            traced = _export(CE2PConfig.of(family, backbone, stride, label_set(dataset).num_classes), graph, path)
            built = build_plan(found.module, path, BuildSettings(plugins=False))
        name = f"{family}:{dataset}-{backbone}-os{stride}"
        rows.append(_row(name, side, traced, built))
        print(
            f"{name:28} {side}x{side}  ONNX {traced:5.1f} s  plan {built.seconds:5.1f} s  "
            f"{len(built.plan) / 1e6:6.1f} MB  {_table(built)}",
            flush=True,
        )
    if options.json:
        document = {"machine": machine(), "tensorrt": found.module.__version__, "stand_in": found.stand_in}
        write_json(options.json, {**document, "builds": rows})


def _export(config: CE2PConfig, options: GraphOptions, path: Path) -> float:
    """Write the folded network; seconds."""
    started = time.perf_counter()
    net = deploy(untrained(config), options.size).net
    model, _ = build_graph(net, preprocessing_for(config.family), options)
    ir.save(model, path)
    return time.perf_counter() - started


def _row(name: str, side: int, traced: float, built: BuiltPlan) -> dict[str, Any]:
    return {
        "model": name,
        "size": [side, side],
        "onnx_seconds": round(traced, 2),
        "plan_seconds": round(built.seconds, 2),
        "plan_bytes": len(built.plan),
        "layers": {f"{kind} {dtype}": count for (kind, dtype), count in _counts(built).most_common()},
    }


def _counts(built: BuiltPlan) -> Counter[tuple[str, str]]:
    return Counter((layer.type, layer.dtype) for layer in built.layers)


def _table(built: BuiltPlan) -> str:
    shown = [f"{count} {kind.lower()} {dtype.lower()}" for (kind, dtype), count in _counts(built).most_common(7)]
    return f"{len(built.layers)} layers: {', '.join(shown)}, ..."


if __name__ == "__main__":
    main()
