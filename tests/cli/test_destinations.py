"""Every command that writes: it refuses what exists, what is read and what is another kind of file, before its work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import Ending, Run, error_line

COMMANDS: dict[str, tuple[object, ...]] = {
    "export": ("export", "lip-r18-os16", "--random", "--imgsz", "97", "-o", "new.onnx"),
    "inspect": ("inspect", "MODEL"),
    "doctor": ("doctor",),
    "parse": ("parse", "PICTURE", "--model", "MODEL"),
    "people": ("people", "PICTURE", "--global", "MODEL", "--instances", "people.json"),
    "verify": ("verify", "MODEL", "MODEL"),
    "benchmark": ("benchmark", "MODEL"),
    "val": ("val", "MODEL", "--data", "data"),
    "data check": ("data", "check", "data"),
}
"""Each with a document to write with --json. PICTURE and MODEL stand for files that are there."""

WRONG = {
    "victim.txt": "expected a name ending in .json",
    "victim.json": "exists, and the JSON result would replace it; choose another name, or add --overwrite",
    "link.json": "exists (as a symbolic link)",
    ".": "is a folder",
    "/proc/x.json": "the JSON result cannot be written here",
    "victim.txt/x.json": "lies below a file",
}


def texts(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("target", WRONG)
@pytest.mark.parametrize("command", COMMANDS)
def test_json_goes_nowhere_else(
    ce2p: Run, tiny_model: Path, picture: Path, tmp_path: Path, command: str, target: str
) -> None:
    for name in ("victim.txt", "victim.json"):
        (tmp_path / name).write_text("the user's")
    (tmp_path / "link.json").symlink_to(tmp_path / "victim.txt")
    (tmp_path / "people.json").write_text('{"images": [], "annotations": [], "categories": []}')
    (tmp_path / "data").mkdir()
    before = texts(tmp_path)
    stand_ins: dict[object, object] = {"MODEL": tiny_model, "PICTURE": picture}
    line = error_line(ce2p(*(stand_ins.get(word, word) for word in COMMANDS[command]), "--json", target))
    assert WRONG[target] in line, line
    assert texts(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("export", "net.safetensors", "-o", "."), "is a folder"),
        (("export", "net.safetensors", "-o", ""), "is a folder"),
        (("export", "net.safetensors", "-o", "victim.onnx"), "victim.onnx: exists"),
        (("export", "net.safetensors", "-o", "net.safetensors"), "ending in .onnx"),
        (("export", "net.onnx", "--format", "onnx", "-o", "net.onnx", "--overwrite"), "is an input"),
        (("verify", "MODEL", "MODEL", "-o", "report"), "report/gate.json: exists"),
        (("benchmark", "MODEL", "-o", "report"), "report/benchmark.json: exists"),
        (("val", "MODEL", "--data", "data", "-o", "report"), "report/scores.json: exists"),
        (("val", "MODEL", "--data", "data", "-o", "victim.onnx"), "victim.onnx: is a file"),
        (("people", "PICTURE", "--global", "MODEL", "--instances", "people.json", "-o", "victim.onnx"), "is a file"),
        (("demo", "-o", "report"), "not empty"),
        (("data", "synthetic", "report"), "exists already"),
    ],
    ids=str,
)
def test_outputs_replace_nothing(
    ce2p: Run, tiny_model: Path, picture: Path, tmp_path: Path, arguments: tuple[str, ...], facts: str
) -> None:
    for name in ("gate.json", "benchmark.json", "scores.json"):
        (tmp_path / "report").mkdir(exist_ok=True)
        (tmp_path / "report" / name).write_text("the user's")
    for name in ("victim.onnx", "net.onnx", "net.safetensors"):
        (tmp_path / name).write_text("the user's")
    (tmp_path / "people.json").write_text('{"images": [], "annotations": [], "categories": []}')
    before = texts(tmp_path)
    stand_ins: dict[str, object] = {"MODEL": tiny_model, "PICTURE": picture}
    line = error_line(ce2p(*(stand_ins.get(word, word) for word in arguments)))
    assert facts in line, line
    assert texts(tmp_path) == before


def test_documents_name_their_schema_and_are_replaced_when_asked_to(
    ce2p: Run, tiny_model: Path, tmp_path: Path
) -> None:
    target = tmp_path / "facts.json"
    target.write_text("{}")
    assert "exists" in error_line(ce2p("inspect", tiny_model, "--json", target))
    assert ce2p("inspect", tiny_model, "--json", target, "--overwrite").status == 0
    assert json.loads(target.read_text())["schema"] == "ce2p.inspect/1"
    assert json.loads(ce2p("doctor", "--json").out)["schema"] == "ce2p.doctor/1"


def test_an_input_is_not_replaced_even_when_asked_to(
    ce2p: Run, tiny_model: Path, picture: Path, tmp_path: Path
) -> None:
    people = tmp_path / "people.json"
    people.write_text('{"images": [], "annotations": [], "categories": []}')
    before = texts(tmp_path)
    line = error_line(
        ce2p("people", picture, "--global", tiny_model, "--instances", people, "--json", "./people.json", "--overwrite")
    )
    assert "is an input" in line
    assert texts(tmp_path) == before


def limited(size: int, *arguments: object, out: int = subprocess.PIPE) -> str:
    """`ce2p` in a process whose files cannot grow beyond `size` bytes; its one error line."""
    code = "import resource, sys; from ce2p.__main__ import main; "
    code += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=out, stderr=subprocess.PIPE, text=True, check=False
    )
    return error_line(Ending(ended.returncode, ended.stdout or "", ended.stderr))


def test_what_cannot_be_written_is_named_with_what_it_was_to_hold(tiny_model: Path, tmp_path: Path) -> None:
    line = limited(10, "inspect", tiny_model, "--json", tmp_path / "facts.json")
    assert f"the JSON result is lost: {tmp_path}/facts.json: cannot be written (File too large)" in line
    assert list(tmp_path.iterdir()) == []
    with Path("/dev/full").open("w") as full:
        line = limited(10**9, "inspect", tiny_model, "--json", "-", out=full.fileno())
    assert "standard output: the JSON result cannot be written (No space left on device)" in line


@pytest.mark.parametrize("size", [0, 100])
@pytest.mark.parametrize("save", ["labels", "overlay", "masks", "cutout"])
def test_a_full_disk_while_parsing_is_one_line_and_leaves_nothing_half_written(
    tiny_model: Path, picture: Path, tmp_path: Path, size: int, save: str
) -> None:
    line = limited(
        size,
        "parse",
        picture,
        "--model",
        tiny_model,
        "--backend",
        "onnxruntime",
        "-o",
        tmp_path / "out",
        "--save",
        save,
    )
    assert re.search(r"out/person_.*: cannot be written \(File too large\)", line), line
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_full_disk_in_a_video_is_one_line_and_leaves_nothing_half_written(
    tiny_model: Path, film: Path, tmp_path: Path
) -> None:
    line = limited(700, "parse", film, "--model", tiny_model, "--backend", "onnxruntime", "-o", tmp_path / "out")
    assert "cannot be written (File too large)" in line
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
