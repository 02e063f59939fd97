"""The CUDA kernels, compiled as C++ from the same lines that the GPU runs, against their NumPy references.

Bounds and what they rest on stand beside each op's cases. Over a thousand random shapes: sizes from 1 pixel, classes 2
to 59, float and half, batches, borders, rotation, align_corners on and off, padded rows; between guard pages, with
threads in an order shuffled anew between any two barriers.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ce2p_runtime.model_files.metadata import Normalisation
from ce2p_runtime.ops import FUSED_OPS, label_map
from ce2p_runtime.ops.bilinear import bilinear_resize
from ce2p_runtime.ops.edge_fusion import edge_fusion_launch, edge_fusion_source
from ce2p_runtime.ops.label_map import label_map_source, label_nearest_launch, label_resize_launch, label_warp_launch
from ce2p_runtime.ops.launches import ArrayAt, FusedOp, KernelSource, Launch
from ce2p_runtime.ops.warp_normalize import warp_normalize_launch
from tests.cuda_on_cpu import SHARED_VARIABLE, LaunchError, emulate

ROOT = Path(__file__).parents[2]

LARGEST_SHARE_OF_TIES = 1e-5
"""Labels may differ from the reference's where two classes are bitwise equal after rounding; that rarely."""


def at(array: np.ndarray) -> ArrayAt:
    return ArrayAt(array.ctypes.data, array.shape)


def sweep(op: str, cases: int, seed: int, *flags: str) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.kernels.sweep", op, "--cases", str(cases), "--seed", str(seed), *flags]
    environment = {"PYTHONPATH": ":".join(str(path) for path in (ROOT, ROOT / "export", ROOT / "runtime"))}
    environment[SHARED_VARIABLE] = os.environ[SHARED_VARIABLE]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **environment}
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


@pytest.mark.parametrize("op", FUSED_OPS)
def test_kernels_give_the_results_of_their_reference(op: str) -> None:
    counts = sweep(op, FUSED_OPS[op].part("tests.kernels").SWEPT, 0)
    assert counts["values"] > 1e6
    assert counts.get("ties", 0) <= counts["values"] * LARGEST_SHARE_OF_TIES, counts


@pytest.mark.parametrize("op", FUSED_OPS)
def test_kernels_are_clean_under_the_undefined_behaviour_sanitizer(op: str) -> None:
    """Misaligned vector access, integer overflow, indices outside shared arrays."""
    assert sweep(op, 12, 1, "--sanitize")


def test_every_kernel_belongs_to_an_op_that_has_all_its_parts() -> None:
    folder = KernelSource.of("").file.parent
    assert {file.stem for file in folder.glob("*.cu")} == set(FUSED_OPS)
    expected = {
        "tests.kernels": ("SWEPT", "check", "variants"),
        "benchmarks.ops": ("cpu_cases", "gpu_cases", "gpu_sources"),
    }
    for op in FUSED_OPS.values():
        for package, names in expected.items():
            assert [name for name in names if not hasattr(op.part(package), name)] == [], (op.name, package)
        assert (ROOT / f"export/ce2p_export/fusions/{op.name}.py").exists() == op.in_graph, op.name


def test_a_forgotten_part_is_an_error() -> None:
    forgetful = FusedOp("forgetful", around_network=None, in_graph=True)
    for package in ("tests.kernels", "benchmarks.ops", "ce2p_export.fusions"):
        with pytest.raises(ModuleNotFoundError, match="forgetful"):
            forgetful.part(package)


def test_a_full_frame_takes_the_shortcut_and_gives_the_reference_labels() -> None:
    """Network size and a large frame, where most pixels lie inside a class."""
    rng = np.random.default_rng(5)
    coarse = rng.normal(0, 4, (1, 20, 12, 12)).astype(np.float32)
    logits = np.ascontiguousarray(bilinear_resize(coarse, (119, 119), align_corners=True))
    matrix = np.array([[473 / 1080, 0.0, -184.0], [0.0, 473 / 1080, 0.0]])
    size, frame = (473, 473), (1080, 1920)
    inner, outer = np.full((1, *size), 99, np.uint8), np.full((1, *frame), 99, np.uint8)
    kernels = emulate(label_map_source(False, True))
    kernels.run(label_resize_launch(at(logits), at(inner)))
    kernels.run(label_warp_launch(at(logits), at(inner), matrix, at(outer)))
    expected = label_map(logits[0], matrix, size, frame, align_corners=True)
    assert (outer[0] != expected).sum() <= outer.size * LARGEST_SHARE_OF_TIES


def test_results_do_not_depend_on_the_order_of_threads() -> None:
    """Sums are formed in one fixed order: the same bits whichever thread runs first."""
    rng = np.random.default_rng(2)
    sizes = ((21, 45), (11, 23), (6, 12))
    branches = [rng.normal(size=(1, 50, *size)).astype(np.float32) for size in sizes]
    weight, bias = rng.normal(size=(20, 50)).astype(np.float32), rng.normal(size=20).astype(np.float32)
    results = []
    for seed in range(3):
        logits = np.empty((1, 20, *sizes[0]), np.float32)
        launch = edge_fusion_launch([at(branch) for branch in branches], at(weight), at(bias), at(logits))
        emulate(edge_fusion_source(False, 20, True, 0.01, (21, 11, 6))).run(launch, seed)
        results.append(logits)
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


FAULTY = """
#include "cuda_types.cuh"
extern "C" __global__ void ce2p_no_barrier(int* out) {
    __shared__ int values[256];
    values[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = values[(threadIdx.x + 1) % 256];
}
extern "C" __global__ void ce2p_divergent(int* out) {
    if (threadIdx.x < 100) __syncthreads();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void ce2p_stale(int* out) {
    __shared__ int value;
    if (blockIdx.x == 0 && threadIdx.x == 0) value = 7;
    __syncthreads();
    if (threadIdx.x == 0) out[blockIdx.x] = value;
}
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> KernelSource:
    file = tmp_path_factory.mktemp("faulty") / "faulty.cu"
    file.write_text(FAULTY)
    return KernelSource(file, ())


def run_faulty(source: KernelSource, kernel: str, grid: int = 1, seed: int = 0) -> np.ndarray:
    out = np.zeros(256, np.int32)
    folder = f"-I{KernelSource.of('label_map').file.parent}"
    launch = Launch("faulty", kernel, (grid, 1, 1), (np.uint64(out.ctypes.data),))
    emulate(source, flags=(folder,)).run(launch, seed)
    return out


def test_the_emulation_notices_a_missing_barrier(faulty: KernelSource) -> None:
    results = {run_faulty(faulty, "ce2p_no_barrier", seed=seed).tobytes() for seed in range(3)}
    assert len(results) > 1


def test_the_emulation_refuses_a_barrier_that_not_all_threads_reach(faulty: KernelSource) -> None:
    with pytest.raises(LaunchError, match="barrier"):
        run_faulty(faulty, "ce2p_divergent")


def test_the_emulation_wipes_shared_memory_between_blocks(faulty: KernelSource) -> None:
    assert list(run_faulty(faulty, "ce2p_stale", grid=3)[:3]) == [7, -1, -1]


def test_a_launch_with_other_arguments_than_the_kernels_is_refused() -> None:
    labels = np.zeros((1, 4, 4), np.uint8)
    launch = label_nearest_launch(at(labels), None, at(labels))
    wrong = dataclasses.replace(launch, arguments=launch.arguments[:-1])
    with pytest.raises(LaunchError, match="arguments"):
        emulate(label_map_source(False, True)).run(wrong)


def test_impossible_launches_are_refused_before_they_are_made() -> None:
    plain = Normalisation("bgr", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="rows of 30 bytes"):
        warp_normalize_launch(ArrayAt(0, (1, 8, 10, 3)), 29, None, plain, ArrayAt(0, (1, 3, 4, 4)))
    with pytest.raises(ValueError, match="at least one item"):
        label_resize_launch(ArrayAt(0, (0, 3, 4, 4)), ArrayAt(0, (0, 8, 8)))
    with pytest.raises(ValueError, match="1 to 64 classes"):
        edge_fusion_source(False, 65, True, 0.0, (8, 4, 2))
