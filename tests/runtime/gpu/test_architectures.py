"""Every kernel assembles for every architecture without local memory: no stack frame, no spill.

What is assembled is the PTX that ships, compute_75, so that ptxas does here what drivers do there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from ce2p_runtime import BackendError
from ce2p_runtime.cuda.resource_report import KernelResources, parse_report, resource_report
from ce2p_runtime.cuda.toolchains import find_nvcc
from ce2p_runtime.ops.launches import KernelSource
from tests.cuda_on_cpu import kernel_names
from tests.kernels.cases import variants

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_120")
CASES = variants()
OWN_PTX = ["edge_fusion-20-half-os16", "label_map-half-half_pixel", "warp_normalize-half"]
"""Also compiled to newer architectures' own PTX, which nothing ships. (edge_fusion in float keeps one index in memory
there, outside its loops.)"""


@pytest.fixture(autouse=True, scope="module")
def _with_nvcc() -> None:
    if find_nvcc() is None:
        message = "no nvcc on this machine, and only its ptxas reports spills"
        assert not os.environ.get("CI"), message
        pytest.skip(message)


@pytest.fixture(scope="module")
def reports() -> Iterator[dict[str, Future[list[KernelResources]]]]:
    """Every case's report; two at a time, since one nvcc keeps one core busy for a second."""
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(resource_report, source, ARCHITECTURES) for name, source in CASES.items()}
        pool.shutdown(cancel_futures=True)


def local_memory(report: list[KernelResources]) -> list[KernelResources]:
    """Those that use any."""
    return [found for found in report if found.stack_bytes or found.spill_stores or found.spill_loads]


@pytest.mark.parametrize("name", CASES)
def test_the_ptx_that_ships_assembles_everywhere_without_local_memory(
    name: str, reports: dict[str, Future[list[KernelResources]]]
) -> None:
    kernels, report = kernel_names(CASES[name]), reports[name].result()
    assert {(found.kernel, found.arch) for found in report} == set(product(kernels, ARCHITECTURES))
    assert local_memory(report) == []


@pytest.mark.parametrize("name", OWN_PTX)
def test_ptx_of_newer_architectures_needs_no_local_memory_either(name: str) -> None:
    report = resource_report(CASES[name], ("sm_80", "sm_90", "sm_120"), virtual=None)
    assert local_memory(report) == []


HUNGRY = """
extern "C" __global__ void __launch_bounds__(1024, 1) spilling(float* x) {
    float v[200];
#pragma unroll
    for (int i = 0; i < 200; i++) v[i] = x[i * 1024 + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 200; i++) x[i * 1024 + threadIdx.x] = v[i] * v[(i * 7 + 3) % 200];
}
extern "C" __global__ void indexing(float* x, int n) {
    float v[100];
    for (int i = 0; i < n; i++) v[i] = x[i];
    x[0] = v[n / 2];
}
extern "C" __global__ void sharing(float* x) {
    __shared__ float s[256];
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = s[255 - threadIdx.x];
}
"""


def test_the_report_would_notice_a_spill_a_stack_frame_and_shared_memory(tmp_path: Path) -> None:
    file = tmp_path / "hungry.cu"
    file.write_text(HUNGRY)
    report = {
        (found.kernel, found.arch): found for found in resource_report(KernelSource(file, ()), ("sm_75", "sm_90"))
    }
    assert len(report) == 6
    for arch in ("sm_75", "sm_90"):
        spilling, indexing, sharing = (report[name, arch] for name in ("spilling", "indexing", "sharing"))
        assert spilling.registers <= 64
        assert spilling.spill_stores > 0
        assert spilling.spill_loads > 0
        assert indexing.stack_bytes >= 400
        assert indexing.spill_stores == 0
        assert sharing.shared_bytes == 1024
        assert local_memory([spilling, indexing, sharing]) == [spilling, indexing]


def test_a_report_in_an_unknown_form_is_an_error() -> None:
    with pytest.raises(BackendError, match="another form"):
        parse_report("ptxas info    : Compiling entry function 'a' for 'sm_90'\nptxas info    : fine\n")
