"""PTX comes from a compiler once, then from the cache, and never from a cache entry that no longer fits."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ce2p_runtime import BackendError
from ce2p_runtime.base.cache import cache_folder
from ce2p_runtime.cuda.compiler import compile_ptx, ptx_header, ptx_version, source_sha256
from ce2p_runtime.cuda.toolchains import Compiler, Nvcc, Nvrtc, find_compiler, find_nvcc
from ce2p_runtime.ops.launches import KernelSource

HEADER = "#pragma once\n#include <cuda_fp16.h>\n#include <mma.h>\n#include <stdint.h>\n#define FACTOR 2.0f\n"
KERNEL = """#include "scale.cuh"
extern "C" __global__ void scale(const __half* in, int32_t count, float* out) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = __half2float(in[i]) * FACTOR + OFFSET;
}
"""


@dataclass
class CountingCompiler:
    """Stands in for a compiler: PTX of one line, and a count of how often it was asked."""

    name: str = "counting"
    version: str = "1.0"
    flags: tuple[str, ...] = ("-x",)
    calls: list[str] = field(default_factory=list)

    def compile(self, source: KernelSource, arch: str) -> bytes:
        self.calls.append(arch)
        return f".version 8.7\n// {source.file.read_text()}".encode()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CE2P_CACHE", str(folder))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> KernelSource:
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "scale.cuh").write_text(HEADER)
    (folder / "scale.cu").write_text(KERNEL)
    return KernelSource(folder / "scale.cu", (("OFFSET", "0.5f"),))


def nvcc() -> Compiler:
    program = find_nvcc()
    if program is None:
        message = "no nvcc on this machine"
        assert not os.environ.get("CI"), message
        pytest.skip(message)
    return Nvcc(program)


def nvrtc() -> Compiler:
    try:
        return Nvrtc()
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(params=[nvcc, nvrtc], ids=["nvcc", "nvrtc"])
def real(request: pytest.FixtureRequest) -> Compiler:
    made: Compiler = request.param()
    return made


def test_a_second_compilation_comes_from_the_cache(source: KernelSource, cache: Path) -> None:
    compiler = CountingCompiler()
    first = compile_ptx(source, compiler=compiler)
    assert compile_ptx(source, compiler=CountingCompiler()) == first
    assert compiler.calls == ["compute_75"]
    (entry,) = (cache / "ptx").iterdir()
    assert entry.name.startswith("scale-compute_75-")
    assert entry.read_bytes() == first


@pytest.mark.parametrize(
    "change",
    [
        lambda source, compiler: (replace(source, defines=(("OFFSET", "1.5f"),)), compiler, "compute_75"),
        lambda source, compiler: (source, replace(compiler, version="1.1"), "compute_75"),
        lambda source, compiler: (source, replace(compiler, name="other"), "compute_75"),
        lambda source, compiler: (source, replace(compiler, flags=("-y",)), "compute_75"),
        lambda source, compiler: (source, compiler, "compute_90"),
        lambda source, compiler: (_rewritten(source, source.file.name), compiler, "compute_75"),
        lambda source, compiler: (_rewritten(source, "scale.cuh"), compiler, "compute_75"),
    ],
    ids=["constants", "compiler version", "compiler", "flags", "architecture", "source", "header"],
)
def test_whatever_changes_the_result_is_part_of_the_key(
    source: KernelSource, change: Callable[[KernelSource, CountingCompiler], tuple[KernelSource, CountingCompiler, str]]
) -> None:
    compiler = CountingCompiler()
    compile_ptx(source, compiler=compiler)
    changed, compiler, arch = change(source, compiler)
    compile_ptx(changed, arch, compiler)
    assert len(compiler.calls) == 2


def _rewritten(source: KernelSource, name: str) -> KernelSource:
    file = source.file.with_name(name)
    file.write_text(file.read_text() + "// changed\n")
    return source


@pytest.mark.parametrize("damage", [b"", b"// ce2p {", b".version 8.7\n"], ids=["empty", "cut", "foreign"])
def test_a_damaged_entry_is_compiled_again(source: KernelSource, cache: Path, damage: bytes) -> None:
    compiler = CountingCompiler()
    whole = compile_ptx(source, compiler=compiler)
    (entry,) = (cache / "ptx").iterdir()
    for content in (damage, whole[:-1], whole.replace(b"FACTOR", b"VECTOR")):
        entry.write_bytes(content)
        assert compile_ptx(source, compiler=compiler) == whole
        assert entry.read_bytes() == whole
    assert len(compiler.calls) == 4


def test_a_cache_that_cannot_be_written_stops_nobody(
    source: KernelSource, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the folder should be")
    compiler = CountingCompiler()
    assert ptx_header(compile_ptx(source, compiler=compiler)) is not None
    assert "not kept" in caplog.text
    cache.unlink()
    (cache / "ptx").mkdir(parents=True)
    (cache / "ptx").chmod(stat.S_IRUSR | stat.S_IXUSR)  # the superuser may write there all the same
    assert ptx_header(compile_ptx(source, compiler=compiler)) is not None


def test_the_first_line_tells_what_the_ptx_is(source: KernelSource) -> None:
    ptx = compile_ptx(source, compiler=CountingCompiler())
    line = ptx.partition(b"\n")[0]
    assert line.startswith(b'// ce2p {"file": "scale.cu", "defines": {"OFFSET": "0.5f"}, "sha256": "')
    header = ptx_header(ptx)
    assert header is not None
    assert header["sha256"] == source_sha256(source)
    assert header["compiler"] == "counting 1.0"
    assert ptx_header(ptx + b" ") is None


def test_both_compilers_give_ptx_of_the_virtual_architecture(source: KernelSource, real: Compiler) -> None:
    ptx = compile_ptx(source, "compute_80", real)
    assert ptx_version(ptx) >= (8, 0)
    text = ptx.decode()
    assert ".target sm_80" in text
    assert ".entry scale(" in text
    assert "0f3F000000" in text  # OFFSET, 0.5 as PTX writes it
    assert not ptx.endswith(b"\0")
    header = ptx_header(ptx)
    assert header is not None
    assert header["compiler"] == f"{real.name} {real.version}"


def test_a_source_that_does_not_compile_is_one_line(
    source: KernelSource, real: Compiler, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source.file.write_text(KERNEL.replace("in[i]", "nowhere[i]"))
    caplog.set_level("INFO")
    with pytest.raises(BackendError, match=r'scale\.cu: .*error: identifier "nowhere" is undefined') as caught:
        compile_ptx(source, compiler=real)
    assert "\n" not in str(caught.value)
    assert 'scale.cu(4): error: identifier "nowhere" is undefined' in caplog.text
    assert not cache.exists()


def test_ptx_versions() -> None:
    assert ptx_version(b"//\n// x\n\n.version 9.0\n.target sm_75\n") == (9, 0)
    assert ptx_version(b".version 8.10\n") == (8, 10)
    with pytest.raises(ValueError, match="not PTX"):
        ptx_version(b"\x7fELF")


def test_architectures_that_are_none_are_refused(source: KernelSource) -> None:
    with pytest.raises(ValueError, match="compute_75"):
        compile_ptx(source, "sm_75", CountingCompiler())


def test_a_source_that_is_not_there(source: KernelSource) -> None:
    with pytest.raises(BackendError, match=r"gone\.cu: the kernel's source cannot be read"):
        compile_ptx(replace(source, file=source.file.with_name("gone.cu")), compiler=CountingCompiler())


def _program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_order_in_which_nvcc_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, on_path, home = (
        _program(tmp_path / place, "echo release 1.2, V1.2.3") for place in ("my-nvcc", "path/nvcc", "home/bin/nvcc")
    )
    monkeypatch.setenv("CE2P_NVCC", str(named))
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setenv("CUDA_HOME", str(home.parent.parent))
    assert find_nvcc() == named
    assert find_compiler().version == "1.2.3"
    monkeypatch.delenv("CE2P_NVCC")
    assert find_nvcc() == on_path
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_nvcc() == home
    monkeypatch.setenv("CE2P_NVCC", str(tmp_path / "no-nvcc"))
    with pytest.raises(BackendError, match=r"CE2P_NVCC is .*no-nvcc, which is no program"):
        find_nvcc()


def test_programs_that_are_no_nvcc_are_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="states no version"):
        Nvcc(_program(tmp_path / "nvcc", "echo hello"))


def test_without_any_compiler_both_cures_are_named(source: KernelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.delenv("CE2P_NVCC", raising=False)
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)  # how Python spells "not installed"
    with pytest.raises(BackendError) as caught:
        compile_ptx(source)
    for part in ("no nvcc", "cuda.bindings.nvrtc", "install the CUDA toolkit", "pip install cuda-bindings", "engine"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder("ptx") == tmp_path / "cache" / "ptx"
    monkeypatch.delenv("CE2P_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "ce2p"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder("a", "b") == tmp_path / ".cache" / "ce2p" / "a" / "b"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "ce2p"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "ce2p" / "Cache"
