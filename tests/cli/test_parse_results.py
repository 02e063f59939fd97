"""Where `ce2p parse` writes: what results are called, what is never replaced, and how a second run goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p.labels import label_set
from ce2p_runtime.media.video import VideoReader
from tests.cli.command import Ending, Run, error_line


@pytest.fixture
def parse(ce2p: Run, tiny_model: Path) -> Run:
    """`ce2p parse` with the tiny network on the backend that needs no timing first."""

    def run(*arguments: object) -> Ending:
        return ce2p("parse", "--model", tiny_model, "--backend", "onnxruntime", *arguments)

    return run


def put(picture: Path, *places: Path) -> None:
    """The picture at each place, in the format of its suffix."""
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == picture.suffix:
            place.write_bytes(picture.read_bytes())
        else:
            image = cv2.imread(str(picture))
            assert image is not None
            cv2.imwrite(str(place), image)


def files(folder: Path) -> set[str]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and time of change."""
    return {name: ((folder / name).read_bytes(), (folder / name).stat().st_mtime_ns) for name in files(folder)}


@pytest.mark.parametrize("source", ["tree", "tree/**/*.jpg"])
def test_results_lie_as_their_pictures_do(parse: Run, picture: Path, tmp_path: Path, source: str) -> None:
    put(picture, *(tmp_path / "tree" / place for place in ("a.jpg", "x/a.jpg", "x/y/b.jpg")))
    ending = parse(source, "-o", "out", "--save", "labels", "--json", "summary.json")
    assert ending.status == 0, ending.err
    assert files(tmp_path / "out") == {"a_labels.png", "x/a_labels.png", "x/y/b_labels.png"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["schema"] == "ce2p.parse/1"
    assert (summary["expected"], summary["parsed"]) == (3, 3)
    assert {entry["source"]: entry["labels"] for entry in summary["results"]} == {
        f"tree/{stem}.jpg": f"out/{stem}_labels.png" for stem in ("a", "x/a", "x/y/b")
    }


def test_a_pattern_without_folders_leaves_sub_folders_out(parse: Run, picture: Path, tmp_path: Path) -> None:
    put(picture, tmp_path / "tree/a.jpg", tmp_path / "tree/x/b.jpg")
    assert parse("tree/*", "-o", "out", "--save", "labels").status == 0
    assert files(tmp_path / "out") == {"a_labels.png"}


def test_a_neighbour_of_the_same_stem_moves_no_name(parse: Run, picture: Path, tmp_path: Path) -> None:
    put(picture, tmp_path / "tree/a.png", tmp_path / "tree/b.jpg")
    assert parse("tree", "-o", "out", "--save", "labels").status == 0
    before = contents(tmp_path / "out")
    put(picture, tmp_path / "tree/a.jpg")
    line = error_line(parse("tree", "-o", "out", "--save", "labels", "--skip-existing"))
    assert "a.jpg" in line
    assert "a.png" in line
    assert "--whole-names" in line
    assert contents(tmp_path / "out") == before
    assert parse("tree", "-o", "whole", "--save", "labels", "--whole-names").status == 0
    assert files(tmp_path / "whole") == {"a.jpg_labels.png", "a.png_labels.png", "b.jpg_labels.png"}


def test_a_second_run_is_refused_goes_on_or_replaces(parse: Run, picture: Path, tmp_path: Path) -> None:
    put(picture, tmp_path / "tree/a.jpg")
    assert parse("tree", "-o", "out").status == 0
    first = contents(tmp_path / "out")
    put(picture, tmp_path / "tree/b.jpg")

    line = error_line(parse("tree", "-o", "out"))
    assert "2 of 4 results" in line
    assert "--skip-existing" in line
    assert "--overwrite" in line
    assert contents(tmp_path / "out") == first

    ending = parse("tree", "-o", "out", "--skip-existing", "--json", "summary.json")
    assert ending.status == 0, ending.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["expected"], summary["parsed"], summary["done_before"]) == (2, 1, 1)
    assert [entry["source"] for entry in summary["results"]] == ["tree/a.jpg", "tree/b.jpg"]
    second = contents(tmp_path / "out")
    assert {name: second[name] for name in first} == first
    assert set(second) - set(first) == {"b_labels.png", "b_overlay.jpg"}

    ending = parse("tree", "-o", "out", "--skip-existing")
    assert (ending.status, contents(tmp_path / "out")) == (0, second)
    assert "2 had all their results" in ending.out

    assert parse("tree", "-o", "out", "--overwrite").status == 0
    third = contents(tmp_path / "out")
    assert third.keys() == second.keys()
    assert all(third[name][1] > second[name][1] for name in second)


def test_of_a_picture_that_was_half_done_the_rest_is_written(parse: Run, picture: Path, tmp_path: Path) -> None:
    put(picture, tmp_path / "tree/a.jpg")
    assert parse("tree", "-o", "out", "--save", "labels").status == 0
    before = contents(tmp_path / "out")
    assert parse("tree", "-o", "out", "--skip-existing", "--save", "labels,overlay, masks").status == 0
    after = contents(tmp_path / "out")
    assert after["a_labels.png"] == before["a_labels.png"]
    assert "a_overlay.jpg" in after
    assert any(name.startswith("a_masks/a_") for name in after)


def test_masks_of_an_earlier_run_do_not_stay_among_new_ones(parse: Run, picture: Path, tmp_path: Path) -> None:
    assert parse(picture, "-o", "out", "--save", "masks").status == 0
    stale, foreign = tmp_path / "out/person_masks/person_99_gone.png", tmp_path / "out/person_masks/notes.txt"
    stale.write_bytes(b"of a class that no longer occurs")
    foreign.write_text("the user's")
    assert parse(picture, "-o", "out", "--save", "masks", "--overwrite").status == 0
    assert not stale.exists()
    assert foreign.read_text() == "the user's"
    assert parse(picture, "-o", "again", "--save", "masks").status == 0
    assert files(tmp_path / "out/person_masks") - {"notes.txt"} == files(tmp_path / "again/person_masks")


@pytest.mark.parametrize("place", ["pictures", "pictures/parsed", "."])
def test_own_results_are_never_taken_for_pictures(parse: Run, picture: Path, tmp_path: Path, place: str) -> None:
    put(picture, tmp_path / "pictures/a.jpg")
    source = "." if place == "." else "pictures"
    assert parse(source, "-o", place, "--save", "overlay,labels,masks").status == 0
    before = files(tmp_path)
    ending = parse(source, "-o", place, "--save", "overlay,labels,masks", "--overwrite")
    assert ending.status == 0, ending.err
    assert files(tmp_path) == before
    results = len(before) - 1
    assert f"{results} earlier results" in ending.err


def test_a_picture_of_the_users_that_is_called_like_a_result_is_read(parse: Run, picture: Path, tmp_path: Path) -> None:
    put(picture, tmp_path / "pictures/foo_labels.png")
    ending = parse("pictures", "-o", "pictures", "--save", "labels")
    assert ending.status == 0, ending.err
    assert files(tmp_path / "pictures") == {"foo_labels.png", "foo_labels_labels.png"}


@pytest.mark.parametrize("unasked", [[], ["--overwrite"], ["--skip-existing"]], ids=str)
def test_no_result_replaces_a_picture_that_is_read(
    parse: Run, picture: Path, tmp_path: Path, unasked: list[str]
) -> None:
    put(picture, tmp_path / "pictures/a.jpg", tmp_path / "pictures/a_labels.png")
    before = contents(tmp_path)
    line = error_line(parse("pictures", "-o", "pictures", "--save", "labels", *unasked))
    assert "a_labels.png: is an input" in line
    assert contents(tmp_path) == before


def test_a_result_is_no_link_to_a_picture_that_is_read(parse: Run, picture: Path, tmp_path: Path) -> None:
    put(picture, tmp_path / "pictures/a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a_overlay.jpg").symlink_to(tmp_path / "pictures/a.jpg")
    before = (tmp_path / "pictures/a.jpg").read_bytes()
    assert "is an input" in error_line(parse("pictures", "-o", "out", "--overwrite"))
    assert (tmp_path / "pictures/a.jpg").read_bytes() == before


def test_of_a_link_to_a_file_of_the_users_only_the_link_is_replaced(parse: Run, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "victim.txt").write_text("the user's")
    (tmp_path / "out/person_overlay.jpg").symlink_to(tmp_path / "victim.txt")
    assert "exists" in error_line(parse(picture, "-o", "out"))
    assert parse(picture, "-o", "out", "--overwrite").status == 0
    assert (tmp_path / "victim.txt").read_text() == "the user's"
    assert not (tmp_path / "out/person_overlay.jpg").is_symlink()


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["-o", ""], "-o: the name is empty"),
        (["-o", "   "], "-o: the name is empty"),
        (["-o", "file.txt"], "file.txt: is a file"),
        (["-o", "file.txt/out"], "file.txt"),
        (["-o", "/proc/out"], "/proc/out: the results cannot be written"),
        (["-o", "out.avi"], "out.avi: is one file by its suffix"),
        (["-o", "out.png"], "one kind of result that fits"),
        (["-o", "out.jpg", "--save", "labels"], "one kind of result that fits"),
        (["-o", "out.jpg", "--save", "labels,overlay"], "one kind of result that fits"),
        (["--save", "hologram"], "cannot save hologram"),
        (["--save", " , "], "--save: names nothing"),
        (["--json", "."], "is a folder"),
        (["--json", "victim.onnx"], "ending in .json"),
        (["--json", "victim.json"], "victim.json: exists"),
        (["--json", "/proc/x.json"], "/proc/x.json: the JSON result cannot be written"),
        (["--save", "labels", "--opacity", "0.3"], "--opacity: only for overlays"),
        (["--classes", "Coat"], "--classes: only for cut-outs"),
        (["--background", "no such colour"], "--background no such colour: expected a colour"),
    ],
    ids=str,
)
def test_wrong_destinations_are_refused_before_the_model_is_read(
    ce2p: Run, picture: Path, tmp_path: Path, arguments: list[str], fact: str
) -> None:
    for name in ("file.txt", "victim.onnx", "victim.json"):
        (tmp_path / name).write_text("the user's")
    before = contents(tmp_path)
    line = error_line(ce2p("parse", picture, "--model", "there is no model.onnx", *arguments))
    assert fact in line, line
    assert contents(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"file.txt", "victim.onnx", "victim.json"}


def test_an_empty_source_is_not_the_working_folder(parse: Run, picture: Path, tmp_path: Path) -> None:
    put(picture, tmp_path / "a.jpg")
    assert "name of the source is empty" in error_line(parse(""))
    assert files(tmp_path) == {"a.jpg"}


@pytest.mark.parametrize(
    ("output", "arguments"),
    [("out.jpg", []), ("sub/out.png", ["--save", "labels"]), ("out.webp", ["--save", "overlay"])],
)
def test_one_result_of_one_picture_may_be_a_file(
    parse: Run, picture: Path, tmp_path: Path, output: str, arguments: list[str]
) -> None:
    ending = parse(picture, "-o", output, *arguments)
    assert ending.status == 0, ending.err
    assert files(tmp_path) == {output}
    image = cv2.imread(str(tmp_path / output))
    assert image is not None
    assert image.shape == (120, 100, 3)
    assert "exists" in error_line(parse(picture, "-o", output, *arguments))


def test_one_result_of_a_video_may_be_a_file(parse: Run, film: Path, tmp_path: Path) -> None:
    assert parse(film, "-o", "out.mp4").status == 0
    assert parse(film, "-o", "ids.mkv", "--save", "labels").status == 0
    assert files(tmp_path) == {"out.mp4", "ids.mkv"}
    with VideoReader(tmp_path / "out.mp4") as overlay, VideoReader(tmp_path / "ids.mkv", labels=True) as labels:
        assert len(list(overlay)) == len(list(labels)) == 30


def test_a_video_is_not_parsed_twice_unasked(parse: Run, film: Path, tmp_path: Path) -> None:
    assert parse(film, "-o", "out", "--save", "labels").status == 0
    before = contents(tmp_path / "out")
    assert "1 of 2 results" in error_line(parse(film, "-o", "out"))
    assert parse(film, "-o", "out", "--skip-existing").status == 0
    after = contents(tmp_path / "out")
    assert after.keys() == {"walk_labels.mkv", "walk_overlay.mp4"}
    assert after["walk_labels.mkv"] == before["walk_labels.mkv"]
    ending = parse(film, "-o", "out", "--skip-existing")
    assert (ending.status, contents(tmp_path / "out")) == (0, after)
    assert "1 had all their results" in ending.out


def test_a_video_is_never_its_own_overlay(parse: Run, film: Path, tmp_path: Path) -> None:
    (tmp_path / "walk.mp4").write_bytes(film.read_bytes())
    assert "is an input" in error_line(parse("walk.mp4", "-o", "./walk.mp4", "--overwrite"))
    assert (tmp_path / "walk.mp4").read_bytes() == film.read_bytes()


def test_what_is_no_picture_is_counted_and_named_by_kind(parse: Run, picture: Path, film: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    put(picture, folder / "a.jpg")
    (folder / "d.jfif").write_bytes(picture.read_bytes())
    (folder / "walk.mp4").write_bytes(film.read_bytes())
    (folder / "notes.txt").write_text("a text")
    (folder / "gone.txt").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe")
    ending = parse(folder, "-o", "out", "--save", "labels", "--json", "summary.json")
    assert ending.status == 0, ending.err
    for kind in ("video (walk.mp4)", "text file (notes.txt)", "broken link (gone.txt)", "device or pipe (pipe)"):
        assert f"1 {kind}" in ending.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["expected"], summary["parsed"]) == (2, 2)
    assert summary["skipped"]["video"] == [str(folder / "walk.mp4")]


def test_pictures_that_cannot_be_read_are_a_loss(parse: Run, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "phone"
    put(picture, folder / "IMG_1.jpg")
    (folder / "IMG_2.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (folder / "IMG_3.jpg").symlink_to(folder / "nowhere")
    ending = parse(folder, "-o", "out", "--save", "labels", "--json", "summary.json")
    line = error_line(ending)
    told = line + ending.err
    assert "1 HEIC picture (IMG_2.HEIC) cannot be read" in told
    assert "1 broken link (IMG_3.jpg) cannot be read" in told
    assert "1 parsed and kept in out/" in line
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["expected"], summary["parsed"], len(summary["problems"])) == (3, 1, 2)


def test_long_names_are_counted_in_bytes(parse: Run, picture: Path, tmp_path: Path) -> None:
    name = "試" * 80
    put(picture, tmp_path / "pictures" / f"{name}.jpg")
    ending = parse("pictures", "-o", "out", "--save", "overlay,labels,masks")
    assert ending.status == 0, ending.err
    assert {f"{name}_labels.png", f"{name}_overlay.jpg"} <= files(tmp_path / "out")
    assert list((tmp_path / "out" / f"{name}_masks").iterdir())


def test_a_cutout_shows_the_classes_asked_for(parse: Run, picture: Path, tmp_path: Path) -> None:
    labels = ["--save", "labels,cutout", "--labels", "grey"]
    assert parse(picture, "-o", "out", *labels).status == 0
    ids = cv2.imread(str(tmp_path / "out/person_labels.png"), cv2.IMREAD_UNCHANGED)
    assert ids is not None
    assert ids.ndim == 2
    found = np.unique(ids)
    names = label_set("lip").names
    chosen = [int(index) for index in found if index][:2] or [0]
    classes = ", ".join(names[index].upper() for index in chosen)
    assert parse(picture, "-o", "part", *labels, "--classes", classes).status == 0
    for folder, inside in (("out", ids != 0), ("part", np.isin(ids, chosen))):
        cutout = cv2.imread(str(tmp_path / folder / "person_cutout.png"), cv2.IMREAD_UNCHANGED)
        assert cutout is not None
        assert np.array_equal(cutout[:, :, 3], np.where(inside, 255, 0))
    assert "no class 'Cape'" in error_line(parse(picture, "-o", "x", *labels, "--classes", "Cape"))
    assert not (tmp_path / "x").exists()


def test_what_was_decided_about_pictures_is_said_once_for_each_kind(parse: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    half = np.full((40, 30, 4), 200, np.uint8)
    half[:20, :, 3] = 0
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / "in" / name), half)
    ending = parse("in", "-o", "out", "--save", "overlay", "--opacity", "0", "--background", "#204060")
    assert ending.status == 0, ending.err
    notes = [line for line in ending.err.splitlines() if line.startswith("note: in/")]
    assert len(notes) == 1
    assert "in/a.png (and 2 more)" in notes[0]
    overlay = cv2.imread(str(tmp_path / "out/a_overlay.jpg"))
    assert overlay is not None
    assert np.abs(overlay[:10].astype(int) - (0x60, 0x40, 0x20)).max() < 8  # JPEG rounds
    assert "expected at most" in error_line(parse("in/a.png", "-o", "x", "--max-pixels", "1000"))


def test_quiet_prints_errors_only(parse: Run, picture: Path, tmp_path: Path) -> None:
    ending = parse(picture, "-o", "out", "--quiet")
    assert (ending.status, ending.out, ending.err) == (0, "", "")
    assert "exist" in error_line(parse(picture, "-o", "out", "-q"))
    assert parse(picture, "-o", "loud").out
