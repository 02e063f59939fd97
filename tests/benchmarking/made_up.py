"""Results with made-up samples: nothing here was measured."""

from __future__ import annotations

import dataclasses
from typing import Any

from ce2p.benchmarking.document import Judgement, Result, Row, Standing
from ce2p_runtime.measuring.timing import Timing

PARTS = {"decode": 6.0, "prepare": 1.0, "network": 100.0, "labels": 4.2, "other": 0.0}
WOBBLE = (1.0, 1.01, 1.02, 1.0, 1.01, 1.03, 1.02, 1.0, 1.01, 1.02, 1.0, 1.01)


def timing(middle: float, wobble: tuple[float, ...] = WOBBLE) -> Timing:
    return Timing.of([middle * factor for factor in wobble])


def stages(network: float = 100.0, wobble: tuple[float, ...] = WOBBLE, **parts: float) -> dict[str, Timing]:
    all_parts = {**PARTS, **parts, "network": network}
    frame = sum(all_parts.values()) - all_parts["decode"]
    times = {**all_parts, "frame": frame, "whole": frame + all_parts["decode"]}
    return {stage: timing(middle, wobble) for stage, middle in times.items()}


def judgement(standing: Standing = "passed", pixels: float = 0.9995, precision: str = "fp32") -> Judgement:
    if standing == "not judged":
        return Judgement("not judged", "has other classes than a.onnx")
    limit = 0.99 if precision == "int8" else 0.9999
    failures = ["pixel agreement is 97 %, expected at least 99 %"] if standing == "failed" else []
    figures: dict[str, Any] = {
        "passed": not failures,
        "failures": failures,
        "pixel_agreement": pixels,
        "boundary_agreement": pixels - 0.01,
        "mean_iou": pixels - 0.02,
        "truth_miou": None,
        "worst": "synthetic person 3",
        "precision": precision,
        "thresholds": {"pixel_agreement": limit},
    }
    return Judgement(standing, "", figures)


def row(model: str = "a.onnx", backend: str = "onnxruntime", **changes: Any) -> Row:
    plain = Row(
        name=f"{model} {backend}",
        model=model,
        file=f"models/{model}",
        sha256="0" * 64,
        precision="fp32",
        weights="trained",
        input_size=(473, 473),
        backend=backend,
        device="cpu",
        batch=1,
        stages=stages(),
        throughput={1: timing(105.0), 4: timing(95.0)},
        stream={"overlapped": timing(106.0), "in turn": timing(111.0)},
        judgement=judgement("reference", 1.0),
    )
    return dataclasses.replace(plain, **changes)


def result(*rows: Row, **changes: Any) -> Result:
    machine = {
        "cpu": "A Processor",
        "cores": 2,
        "governor": None,
        "memory_gib": 8.0,
        "gpus": [],
        "system": "Linux x86_64",
        "kernel": "6.1",
        "python": "3.11.2",
        "versions": {"ce2p": "0.1.0", "onnxruntime": "1.30.0"},
    }
    settings = {
        "footage": "3 synthetic frames of 1080x1920",
        "rounds": len(WOBBLE),
        "warmup": 3,
        "rest_ms": 50.0,
        "throughput_rounds": 4,
        "batches": [1, 4],
        "device": "auto",
        "threads": "default",
        "opencv_threads": 2,
        "gate": {"reference": "a.onnx (onnxruntime on cpu)", "pictures": "32 synthetic pictures", "count": 32},
    }
    state = {"clocks": {"lowest": 2000.0, "median": 2500.0, "highest": 2600.0}, "load": [0.1, 0.1, 0.1]}
    plain = Result(
        date="2026-01-02T03:04:05+00:00",
        machine=machine,
        source={"commit": "0123456789abcdef", "dirty": True},
        state={"before": state, "after": state},
        settings=settings,
        rows=rows or (row(),),
        skipped={},
        disturbances=(),
    )
    return dataclasses.replace(plain, **changes)


def three() -> Result:
    """A reference, a fast one that passes, and a faster one that does not; the second has a stage of its own."""
    fast = row("b.onnx", stages=stages(50.0, copy=2.0), precision="int8", judgement=judgement("passed", 0.995, "int8"))
    wrong = row(
        "c.onnx", "openvino", stages=stages(25.0), precision="int8", judgement=judgement("failed", 0.97, "int8")
    )
    return result(row(), fast, wrong)
