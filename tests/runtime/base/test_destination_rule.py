"""Where results may go, and what killed runs leave on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ce2p_runtime import MediaError
from ce2p_runtime.base.destinations import check_destination, check_folder
from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.base.leftovers import remove_leftovers, temporary_name


def refused(path: str | Path, **options: object) -> str:
    with pytest.raises(MediaError) as caught:
        check_destination(path, what="the table", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_new_file_may_be_written_anywhere_that_can_be_made(tmp_path: Path) -> None:
    for name in ("a.csv", "x/y/a.csv", "A.CSV"):
        assert check_destination(tmp_path / name, what="the table", suffixes=(".csv",)) == tmp_path / name
    assert list(tmp_path.iterdir()) == []  # looking makes nothing


def test_every_refusal_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    source, table = tmp_path / "net.onnx", tmp_path / "table.csv"
    for file in (source, table):
        file.write_text("the user's")
    (tmp_path / "link.csv").symlink_to(table)
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "nowhere")
    (tmp_path / "to_source.csv").symlink_to(source)
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is empty" in refused("")
    assert "is a folder" in refused(tmp_path)
    assert "is a folder" in refused(".")
    assert "ending in .csv or .tsv" in refused(source, suffixes=(".csv", ".tsv"))
    assert "exists, and the table would replace it" in refused(table)
    assert "--overwrite" in refused(table)
    assert "exists (as a symbolic link)" in refused(tmp_path / "link.csv")
    assert "exists (as a symbolic link)" in refused(tmp_path / "dangling.csv")
    assert "device or pipe" in refused(tmp_path / "pipe.csv", overwrite=True)
    assert "lies below a file" in refused(table / "a.csv")
    assert "too long" in refused(tmp_path / ("a" * 300))
    assert "null" in refused("a\0b")
    for spelling in (source, tmp_path / "x" / ".." / "net.onnx", tmp_path / "to_source.csv"):
        (tmp_path / "x").mkdir(exist_ok=True)
        assert "is an input" in refused(spelling, inputs=[source], overwrite=True)
    assert source.read_text() == table.read_text() == "the user's"


def test_overwrite_allows_files_and_links(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("old")
    (tmp_path / "link.csv").symlink_to(table)
    for name in ("table.csv", "link.csv"):
        assert check_destination(tmp_path / name, what="the table", overwrite=True) == tmp_path / name
    with atomic_path(tmp_path / "link.csv") as temporary:
        temporary.write_text("new")
    assert (table.read_text(), (tmp_path / "link.csv").read_text()) == ("old", "new")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_places_where_nothing_can_be_made_are_found_by_trying(tmp_path: Path) -> None:
    assert "cannot be written here" in refused("/proc/a.csv")
    assert "cannot be written here" in refused("/proc/self/x/a.csv")
    with pytest.raises(MediaError, match="cannot be written here"):
        check_folder("/proc/x", what="the report")


def test_folders_for_results(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    for name in ("new", "new/er", "real", "linked", "."):
        assert check_folder(tmp_path / name, what="the report") == tmp_path / name
    for name, fact in (("file", "is a file"), ("dangling", "is a file"), ("file/x", "lies below a file")):
        with pytest.raises(MediaError, match=fact):
            check_folder(tmp_path / name, what="the report")
    for empty in ("", "  "):
        with pytest.raises(MediaError, match="is empty"):
            check_folder(empty, what="the report")


def test_an_error_of_writing_names_the_file_that_was_meant(tmp_path: Path) -> None:
    def fill() -> None:
        with atomic_path(tmp_path / "a.png") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_bytes(b"x")

    with pytest.raises(MediaError, match=r"a\.png: cannot be written \(No space left on device\)"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_errors_about_other_files_pass_through(tmp_path: Path) -> None:
    def copy() -> None:
        with atomic_path(tmp_path / "a.png") as temporary:
            temporary.write_bytes((tmp_path / "missing.png").read_bytes())

    with pytest.raises(FileNotFoundError):
        copy()


_WRITES = """
import sys, time
from ce2p_runtime.base.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells whose a file was")
def test_what_a_killed_run_left_goes_when_its_name_is_used_again_and_only_then(tmp_path: Path) -> None:
    target = tmp_path / "試.b.png"
    with subprocess.Popen([sys.executable, "-c", _WRITES, str(target)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        [half] = tmp_path.iterdir()
        assert half.name.startswith(".")
        check_destination(target, what="the picture")
        assert half.exists()  # its owner lives
        writer.kill()
    check_destination(tmp_path / "other.png", what="the picture")
    assert half.exists()  # another name
    check_destination(target, what="the picture")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells whose a file was")
def test_files_of_other_systems_and_of_the_user_are_no_leftovers(tmp_path: Path) -> None:
    ours = temporary_name("a.png")
    beginning, owner, suffix = ours.rsplit(".", 2)
    process, start, system, letters = owner.split("-")
    elsewhere = f"{beginning}.{process}-0-{'0' * 8}-{letters}.{suffix}"
    for name in (".a.png", ".a.backup.png", f"{beginning}.{owner}.jpg", elsewhere):
        (tmp_path / name).write_text("not ours to remove")
    dead = f"{beginning}.{process}-{int(start, 16) + 1:x}-{system}-{letters}.{suffix}"
    (tmp_path / dead).write_text("of a process that had this one's number before")
    (tmp_path / ours).write_text("of this very process")
    assert remove_leftovers([tmp_path / "a.png", tmp_path / "missing/a.png"]) == 1
    assert not (tmp_path / dead).exists()
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("name", ["試" * 80 + "_overlay.jpg", "a" * 240 + ".onnx", "é" * 120, "𝕊" * 60 + ".png"])
def test_temporary_names_fit_where_the_final_name_fits(tmp_path: Path, name: str) -> None:
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.name.endswith(Path(name).suffix)  # writers choose the format by it
        temporary.write_text("x")
    assert (tmp_path / name).read_text() == "x"
