"""The arrows between the three packages, and the runtime's freedom from torch, held by tests."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ce2p_runtime.base.cache import CACHE_VARIABLE

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "ce2p": ROOT / "ce2p",
    "ce2p_export": ROOT / "export/ce2p_export",
    "ce2p_runtime": ROOT / "runtime/ce2p_runtime",
}
ALLOWED = {"ce2p_runtime": set(), "ce2p": {"ce2p_runtime"}, "ce2p_export": {"ce2p", "ce2p_runtime"}}
"""Which of our packages each may import: runtime <- ce2p <- export <- front door <- command line."""
FRONT_DOOR = ("ce2p/__init__.py", "ce2p/api", "ce2p/benchmarking")
COMMAND_LINE = ("ce2p/__main__.py", "ce2p/cli")


def imported_roots(file: Path) -> Iterator[str]:
    """Top-level names that a file imports absolutely, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def stands_in(file: Path, places: tuple[str, ...]) -> bool:
    return any(ROOT / place in (file, *file.parents) for place in places)


def imported_modules(file: Path) -> Iterator[str]:
    """Full names of the modules of ours that a file imports, wherever in it, relatively or not."""
    package = ".".join(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_the_arrows_allow(package: str) -> None:
    files = list(PACKAGES[package].rglob("*.py"))
    assert files, f"no files found for {package}"
    for file in files:
        if stands_in(file, FRONT_DOOR + COMMAND_LINE):
            continue
        foreign = {root for root in imported_roots(file) if root in PACKAGES} - {package} - ALLOWED[package]
        assert not foreign, f"{file.relative_to(ROOT)} imports {foreign}"


def test_only_the_command_line_imports_the_command_line() -> None:
    folders = (*PACKAGES.values(), ROOT / "benchmarks", ROOT / "examples")
    files = [file for folder in folders for file in folder.rglob("*.py") if not stands_in(file, COMMAND_LINE)]
    assert {folder for folder in folders for file in files if folder in file.parents} == set(folders)
    for file in files:
        names = {name for name in imported_modules(file) if name.startswith("ce2p.cli")}
        assert not names, f"{file.relative_to(ROOT)} imports {names}; take it from ce2p.api or ce2p.benchmarking"


def test_below_the_front_door_nobody_imports_it() -> None:
    for file in (*PACKAGES["ce2p"].rglob("*.py"), *PACKAGES["ce2p_export"].rglob("*.py")):
        if not stands_in(file, FRONT_DOOR + COMMAND_LINE):
            above = {name for name in imported_modules(file) if name.startswith(("ce2p.api", "ce2p.benchmarking"))}
            assert not above, f"{file.relative_to(ROOT)} imports {above}"


def test_no_runtime_file_mentions_torch_in_an_import() -> None:
    for file in PACKAGES["ce2p_runtime"].rglob("*.py"):
        assert "torch" not in set(imported_roots(file)), file


def runtime_modules() -> list[str]:
    base = PACKAGES["ce2p_runtime"].parent
    return sorted(
        str(file.relative_to(base).with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for file in PACKAGES["ce2p_runtime"].rglob("*.py")
    )


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PYTHONPATH": ":".join(str(path) for path in (ROOT, ROOT / "export", ROOT / "runtime")),
        "PATH": "",
        CACHE_VARIABLE: os.environ[CACHE_VARIABLE],
    }
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_importing_every_runtime_module_loads_neither_torch_nor_our_other_packages() -> None:
    modules = runtime_modules()
    assert "ce2p_runtime.parser" in modules
    code = (
        f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino', 'av', 'tensorrt', 'pycuda', 'cuda'} & set(sys.modules)\n"
        "heavy |= {'ce2p', 'ce2p_export'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_errors_of_all_packages_have_one_root_and_do_not_load_opencv() -> None:
    code = (
        "import sys\nimport ce2p.errors, ce2p_runtime\n"
        "assert not {'cv2', 'numpy', 'PIL'} & set(sys.modules), 'loaded for errors alone'\n"
        "from ce2p_runtime import CE2PError, CE2PRuntimeError, HumanParser, ParsingResult, read_labels\n"
        "from ce2p_export.proof_pictures import ProofError\nfrom ce2p_export.tensorrt.failures import EngineError\n"
        "assert ce2p.errors.CE2PError is CE2PError\n"
        "ours = [getattr(ce2p.errors, name) for name in ce2p.errors.__all__]\n"
        "assert all(issubclass(error, CE2PError) for error in (*ours, CE2PRuntimeError, ProofError, EngineError))"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_the_parse_command_runs_where_torch_cannot_be_imported(tiny_model: Path, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    picture = tmp_path / "person.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8))
    blocked = "{'torch', 'torchvision', 'safetensors', 'onnx', 'onnxscript', 'skimage', 'ce2p_export'}"
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {blocked}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"sys.argv = ['ce2p', 'parse', {str(picture)!r}, '-m', {str(tiny_model)!r}, '-o', {str(tmp_path / 'out')!r}]\n"
        "from ce2p.__main__ import main\nmain()"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/person_labels.png").exists()
