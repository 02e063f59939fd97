"""The GPU part of `ce2p doctor` on machines that are pretended: with and without driver, with packages that break."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ce2p.cli import doctor_gpu
from ce2p.cli.doctor_gpu import examine_gpu
from ce2p.cli.findings import Finding
from ce2p_runtime import BackendError
from ce2p_runtime.backends import registry
from ce2p_runtime.base.text import install_hint
from ce2p_runtime.cuda.compiler import driver_ptx_version
from ce2p_runtime.ops.launches import KernelSource

SMI = """case "$*" in
*query-gpu*) echo "NVIDIA H100, 580.65" ;;
*) echo "| NVIDIA-SMI 580.65   Driver Version: 580.65   CUDA Version: {cuda} |" ;;
esac"""


class FakeCompiler:
    """Writes PTX of one version."""

    name, version, flags = "nvcc", "13.2.1", ()

    def __init__(self, ptx: str | None) -> None:
        self.ptx = ptx

    def compile(self, source: KernelSource, arch: str) -> bytes:
        if self.ptx is None:
            raise BackendError(f"{source.file.name}: nvcc does not compile it: fatal: no host compiler")
        return f"//\n.version {self.ptx}\n".encode()


RTX = "onnxruntime_ep_nv_tensorrt_rtx"
Machine = Callable[..., dict[str, Finding]]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """`machine(smi, packages, modules, compiler)` -> findings by subject."""

    def make(
        smi: str | None = None,
        packages: dict[str, str] | None = None,
        broken: tuple[str, ...] = (),
        compiler: FakeCompiler | None = None,
    ) -> dict[str, Finding]:
        program = tmp_path / "nvidia-smi"
        if smi is not None:
            program.write_text(f"#!/bin/sh\n{smi}\n")
            program.chmod(0o755)
        monkeypatch.setattr(doctor_gpu.shutil, "which", lambda name: str(program) if smi is not None else None)
        known = packages or {}
        for reader in (doctor_gpu, registry):
            monkeypatch.setattr(reader, "versions", lambda *names: {n: known[n] for n in names if n in known})
        for module in ("tensorrt", "pycuda", "pycuda.driver", "cuda.bindings.runtime", RTX):
            # None is how Python spells "import fails".
            monkeypatch.setitem(sys.modules, module, None if module in broken else ModuleType(module))
        found = compiler or FakeCompiler("9.0")
        monkeypatch.setattr(doctor_gpu, "find_compiler", lambda: found)
        return {finding.subject: finding for finding in examine_gpu()}

    return make


EVERYTHING = {
    "tensorrt": "11.4.0.106",
    "tensorrt-cu13": "11.4.0.106",
    "onnxruntime-ep-nv-tensorrt-rtx-cu13": "0.5.0",
    "pycuda": "2026.1",
    "cuda-bindings": "13.5.0",
}


def test_a_machine_with_everything(machine: Machine) -> None:
    findings = machine(SMI.format(cuda="13.0"), EVERYTHING)
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert findings["NVIDIA driver"].found == "NVIDIA H100, 580.65; up to CUDA 13.0"
    assert findings["backend tensorrt"].found == "tensorrt 11.4.0.106, tensorrt-cu13 11.4.0.106"
    assert findings["CUDA compiler"].found == "nvcc 13.2.1, writes PTX 9.0; the driver knows up to 9.0"


def test_a_machine_with_nothing_has_no_conflict(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = machine()
    assert [f.status for f in findings.values()] == ["missing"] * 3 + ["ok", "missing", "missing"]
    assert install_hint("tensorrt") in findings["backend tensorrt"].cure
    assert install_hint("tensorrt-rtx") in findings["backend tensorrt-rtx"].cure
    assert findings["CUDA compiler"].found == "nvcc 13.2.1, writes PTX 9.0"

    def none() -> None:
        raise BackendError("no CUDA compiler: no nvcc, and no NVRTC; cures")

    monkeypatch.setattr(doctor_gpu, "find_compiler", none)
    _, _, _, compiler, *_ = examine_gpu()
    assert (compiler.status, compiler.found) == ("missing", "no CUDA compiler: no nvcc, and no NVRTC")
    assert "install the CUDA toolkit" in compiler.cure
    assert all(finding.cure for finding in (compiler, *findings.values()) if finding.status != "ok")
    lacking = machine(None, EVERYTHING)["backend tensorrt"]
    assert (lacking.status, lacking.found) == (
        "missing",
        "tensorrt 11.4.0.106, tensorrt-cu13 11.4.0.106; lacks NVIDIA driver",
    )


def test_packages_that_do_not_import_are_a_conflict_only_beside_a_driver(machine: Machine) -> None:
    broken = ("tensorrt", "pycuda.driver", "cuda.bindings.runtime")
    for smi, status in ((None, "missing"), (SMI.format(cuda="13.0"), "conflict")):
        findings = machine(smi, EVERYTHING, broken, FakeCompiler(None))
        for subject in ("backend tensorrt", "CUDA: pycuda", "CUDA: cuda-bindings", "CUDA compiler"):
            assert findings[subject].status == status
            assert findings[subject].cure
        assert "importing fails" in findings["backend tensorrt"].found
        assert "no host compiler" in findings["CUDA compiler"].found


def test_an_old_tensorrt(machine: Machine) -> None:
    finding = machine(SMI.format(cuda="13.0"), {**EVERYTHING, "tensorrt": "10.8.0.43"})["backend tensorrt"]
    assert (finding.status, finding.cure) == ("conflict", "pip install --upgrade tensorrt")
    assert "older than 10.9" in finding.found


def test_ptx_newer_than_the_driver_is_a_conflict(machine: Machine) -> None:
    finding = machine(SMI.format(cuda="13.0"), EVERYTHING, (), FakeCompiler("9.2"))["CUDA compiler"]
    assert finding.status == "conflict"
    assert finding.found == "nvcc 13.2.1, writes PTX 9.2, the driver knows PTX up to 9.0"
    assert finding.cure == "update the driver, or compile with CUDA 13.0"


def test_a_driver_that_does_not_answer(machine: Machine) -> None:
    findings = machine("echo NVIDIA-SMI has failed; exit 9", EVERYTHING, ("tensorrt",))
    assert (findings["NVIDIA driver"].status, findings["NVIDIA driver"].found) == ("missing", "NVIDIA-SMI has failed")
    assert findings["backend tensorrt"].status == "missing"
    quiet = machine('case "$*" in *query*) echo card;; *) echo "no version here";; esac', EVERYTHING)
    assert quiet["NVIDIA driver"].found == "card"
    assert quiet["CUDA compiler"].found == "nvcc 13.2.1, writes PTX 9.0"


@pytest.mark.parametrize(
    ("cuda", "ptx"),
    [
        ((11, 8), (7, 8)),
        ((12, 0), (8, 0)),
        ((12, 5), (8, 5)),
        ((12, 6), (8, 5)),
        ((12, 8), (8, 7)),
        ((12, 9), (8, 8)),
        ((13, 0), (9, 0)),
        ((13, 2), (9, 2)),
    ],
)
def test_ptx_versions_of_drivers(cuda: tuple[int, int], ptx: tuple[int, int]) -> None:
    assert driver_ptx_version(cuda) == ptx
