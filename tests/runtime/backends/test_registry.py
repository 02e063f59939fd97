"""One entry tells everything about a backend: over all entries, and what a wrong or forgotten one does."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tomllib

import ce2p_runtime.backends
from ce2p.cli.doctor import examine
from ce2p.cli.version import run as show_versions
from ce2p_runtime import BackendError
from ce2p_runtime.backends import BACKENDS, DEVICE_BACKENDS, Backend, DeviceBackend, backend_versions, registry
from ce2p_runtime.backends.averaging import AveragedBackend
from ce2p_runtime.backends.choice import RememberedBackend
from ce2p_runtime.backends.gpu_backend import GpuBackend
from ce2p_runtime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend
from ce2p_runtime.backends.registry import BackendEntry, OpenOptions, backend_choices, backend_entry, installed_backends
from ce2p_runtime.measuring.machine import machine
from ce2p_runtime.precisions import PRECISIONS

ENTRIES = {**BACKENDS, **DEVICE_BACKENDS}
WITHOUT_ENTRY: set[type] = {AveragedBackend, RememberedBackend, OnnxRuntimeCudaBackend, GpuBackend}
"""Two stand around other backends, the third is what the entry "onnxruntime" opens on a GPU, the last a base."""
PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def normal(package: str) -> str:
    """A package's name as indexes compare it; of a requirement, the name alone."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", package)[0]).lower()


@pytest.fixture(scope="module")
def extras() -> dict[str, set[str]]:
    """By extra: the names of the packages it brings."""
    listed = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    return {name: set(map(normal, requirements)) for name, requirements in listed.items()}


def test_each_has_a_name_of_its_own() -> None:
    assert len(ENTRIES) == len(registry._ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_its_facts_are_of_the_kind_they_should_be(entry: BackendEntry, extras: dict[str, set[str]]) -> None:
    for values in (entry.distributions, entry.suffixes, entry.devices):
        assert isinstance(values, tuple)
        assert values
        assert all(values)
    assert all(suffix.startswith(".") for suffix in entry.suffixes)
    assert set(entry.devices) <= {"cpu", "cuda"}
    if entry.gpu_extra:
        assert set(entry.devices) == {"cpu", "cuda"}
        assert extras[entry.gpu_extra] & set(entry.distributions)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_its_extra_installs_it(entry: BackendEntry, extras: dict[str, set[str]]) -> None:
    assert extras[entry.extra] & set(entry.distributions)
    assert set(entry.needs) <= set().union(*extras.values())


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_its_packages_are_those_that_provide_its_module(entry: BackendEntry) -> None:
    if not entry.installed:
        pytest.skip(f"{entry.module} is not installed")
    assert set(map(normal, packages_distributions()[entry.module])) <= set(entry.distributions)
    assert entry.versions, "keys of what is remembered would not know its version"


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_its_oldest_version_is_the_bound_of_its_extra(entry: BackendEntry) -> None:
    if entry.oldest:
        assert f'"{entry.distributions[0]}>={".".join(map(str, entry.oldest))}"' in PYPROJECT.read_text("utf-8")


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_what_it_refuses_are_types_inside_files_with_a_cure(entry: BackendEntry) -> None:
    assert set(entry.refused) <= {precision.half for precision in PRECISIONS.values()}
    assert all("; use " in reason and "\n" not in reason for reason in entry.refused.values())


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_a_file_that_is_not_there_is_one_line_whatever_is_installed(entry: BackendEntry, tmp_path: Path) -> None:
    with pytest.raises((BackendError, ce2p_runtime.ModelFileError)) as caught:
        entry.open(tmp_path / f"missing{entry.suffixes[0]}", OpenOptions())
    assert "\n" not in str(caught.value)


def implementations() -> dict[str, type[Backend]]:
    """By name: the classes in the backends' package that implement a backend."""
    found: dict[str, type[Backend]] = {}
    for module in pkgutil.iter_modules(ce2p_runtime.backends.__path__, "ce2p_runtime.backends."):
        for _, value in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            ours = Backend in value.__mro__ and value.__module__ == module.name
            if ours and value not in WITHOUT_ENTRY | {Backend, DeviceBackend}:
                found[value.name] = value
    return found


def test_no_implementation_is_forgotten_and_each_is_of_the_kind_its_devices_say() -> None:
    assert set(implementations()) == set(ENTRIES)
    for name, implementation in implementations().items():
        assert (DeviceBackend in implementation.__mro__) == (name in DEVICE_BACKENDS), name


@pytest.mark.parametrize("fact", ["name", "module", "distributions", "extra", "devices", "open"])
def test_a_fact_that_is_left_out_is_an_error(fact: str) -> None:
    facts = {field.name: getattr(BACKENDS["openvino"], field.name) for field in dataclasses.fields(BackendEntry)}
    del facts[fact]
    with pytest.raises(TypeError, match=fact):
        BackendEntry(**facts)


def test_one_more_entry_is_known_everywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`PIL` stands for a library: it is installed, under a package of another name."""
    entry = dataclasses.replace(
        BACKENDS["openvino"], name="eleventh", module="PIL", distributions=("unheard-of",), needs=("numpy",)
    )
    monkeypatch.setitem(BACKENDS, "eleventh", entry)
    assert "eleventh" in installed_backends()
    assert "eleventh" in backend_choices()
    assert backend_entry("eleventh") is entry
    assert {"ce2p", "numpy"} < set(map(str.lower, backend_versions(["eleventh"])))
    assert "pillow" in map(str.lower, backend_versions(["eleventh"])), "a build under another name was not seen"
    assert "openvino" not in backend_versions(["eleventh"])
    monkeypatch.setitem(BACKENDS, "eleventh", dataclasses.replace(entry, distributions=("pytest",)))
    assert "pytest" in machine()["versions"]
    findings = {finding.subject: finding for finding in examine()}
    assert "devices CPU" in findings["backend eleventh"].found
    show_versions()
    assert "pytest " in capsys.readouterr().out.splitlines()[1]
    with pytest.raises(BackendError, match=r"unknown backend 'twelfth'; expected auto, .*eleventh, tensorrt"):
        backend_entry("twelfth")


def test_reading_the_entries_loads_neither_numpy_nor_a_library() -> None:
    code = (
        "import sys\nfrom ce2p_runtime.backends import BACKENDS\n"
        f"heavy = {{'numpy', 'cv2', *{[entry.module for entry in ENTRIES.values()]}}} & set(sys.modules)\n"
        "assert BACKENDS and not heavy, heavy"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
