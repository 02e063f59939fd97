"""Which pictures a folder or pattern means, what else is said to be there, and the mark of own results."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p_runtime import MediaError
from ce2p_runtime.media.listing import FoundPictures, list_pictures
from ce2p_runtime.media.own_mark import bears_mark, marked
from ce2p_runtime.media.pictures import read_picture, write_picture
from ce2p_runtime.media.png import write_png
from ce2p_runtime.media.sources import open_source

SQUARE = np.full((4, 6, 3), 90, np.uint8)


def picture(path: Path) -> Path:
    """A picture that bears no mark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", SQUARE)
    assert done
    path.write_bytes(data.tobytes())
    return path


def names(found: FoundPictures) -> list[str]:
    return [path.relative_to(found.base).as_posix() for path in found.pictures]


def test_folders_mean_their_sub_folders_too_but_not_hidden_ones(tmp_path: Path) -> None:
    for place in ("b.png", "a10.png", "a9.png", "x/c.png", "x/y/d.png", ".cache/e.png"):
        picture(tmp_path / place)
    assert names(list_pictures(tmp_path)) == ["a9.png", "a10.png", "b.png", "x/c.png", "x/y/d.png"]


@pytest.mark.parametrize(
    ("pattern", "base", "expected"),
    [
        ("x/*", "x", ["c.png"]),
        ("x/**/*.png", "x", ["c.png", "y/d.png"]),
        ("*/c.png", "", ["x/c.png", "z/c.png"]),
        ("x/[y]/d.*", "x", ["y/d.png"]),
    ],
)
def test_places_are_counted_from_where_the_wildcards_begin(
    tmp_path: Path, pattern: str, base: str, expected: list[str]
) -> None:
    for place in ("x/c.png", "x/y/d.png", "z/c.png"):
        picture(tmp_path / place)
    found = list_pictures(f"{tmp_path}/{pattern}")
    assert (found.base, names(found)) == (tmp_path / base, expected)


def test_patterns_with_dots_behind_a_wildcard_have_no_place(tmp_path: Path) -> None:
    picture(tmp_path / "x/y/d.png")
    with pytest.raises(MediaError, match="after a wildcard"):
        list_pictures(f"{tmp_path}/x/*/../../x/y/*.png")


def test_everything_else_is_counted_under_its_kind(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "hash0123")  # no suffix, but a picture
    contents = {
        "b.HEIC": b"\0\0\0\x18ftypheic",
        "c.cr2": b"II*\0raw",
        "d.mp4": b"any",
        "e.txt": b"text",
        "f.npy": b"\x93NUMPY",
        ".g.png": b"hidden",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "h.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "i").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "j.jpg")
    os.mkfifo(tmp_path / "k")
    (tmp_path / "elsewhere").symlink_to(tmp_path.parent, target_is_directory=True)
    found = list_pictures(tmp_path)
    assert names(found) == ["a.png", "hash0123"]
    assert {kind: [file.name for file in files] for kind, files in found.unreadable.items()} == {
        "HEIC picture": ["b.HEIC"],
        "CR2 picture": ["c.cr2"],
        "broken link": ["h.png"],
        "device or pipe": ["j.jpg"],
    }
    assert {kind: [file.name for file in files] for kind, files in found.others.items()} == {
        "video": ["d.mp4"],
        "text file": ["e.txt"],
        ".npy file": ["f.npy"],
        "hidden file": [".g.png"],
        "broken link": ["i"],
        "device or pipe": ["k"],
        "link to a folder": ["elsewhere"],
    }
    assert found.expected == 6
    assert len(found.problems) == 4
    [note] = found.notes
    for text in ("1 video (d.mp4)", "1 link to a folder (elsewhere)", "1 .npy file (f.npy)"):
        assert text in note
    with open_source(tmp_path) as source:
        assert len(list(source)) == 2
        assert (source.total, len(source.problems), len(source.notes)) == (6, 4, 1)


def test_many_files_of_a_kind_are_one_line(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for index in range(20):
        (tmp_path / f"{index:02d}.txt").write_text("text")
    [note] = list_pictures(tmp_path).notes
    assert "20 text files (" in note
    assert note.count(".txt") == 3


def test_a_folder_of_other_things_only_says_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "b.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "d.mp4").write_bytes(b"any")
    with pytest.raises(MediaError, match=r"no pictures in this folder.*1 HEIC picture.*1 video"):
        list_pictures(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser reads every folder")
def test_a_folder_that_cannot_be_listed_is_a_loss(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "shut").mkdir(mode=0)
    try:
        assert list_pictures(tmp_path).unreadable == {"closed folder": [tmp_path / "shut"]}
    finally:
        (tmp_path / "shut").chmod(0o700)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "labels.png"])
def test_results_bear_a_mark_that_changes_no_pixel(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "labels.png":
        write_png(path, SQUARE[:, :, 0], [(index, 0, 0) for index in range(91)])
    else:
        write_picture(path, SQUARE)
    assert bears_mark(path)
    assert read_picture(path).shape == SQUARE.shape
    done, plain = cv2.imencode(path.suffix, SQUARE)
    assert done
    path.write_bytes(plain.tobytes())
    assert not bears_mark(path)
    before = read_picture(path)
    path.write_bytes(marked(plain.tobytes()))
    assert bears_mark(path)
    assert np.array_equal(read_picture(path), before)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF", b"x" * 100])
def test_what_is_no_whole_picture_bears_no_mark(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    assert not bears_mark(tmp_path / "a.jpg")


def test_only_marked_pictures_among_the_results_are_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "out/mine_labels.png")
    write_picture(tmp_path / "out/x/a_labels.png", SQUARE)
    write_picture(tmp_path / "marked.png", SQUARE)
    found = list_pictures(tmp_path, tmp_path / "x/../out")
    assert names(found) == ["a.png", "marked.png", "out/mine_labels.png"]
    assert found.earlier_results == [tmp_path / "out/x/a_labels.png"]
    assert "1 earlier result (a_labels.png)" in found.notes[0]
    assert len(list_pictures(tmp_path).pictures) == 4
