"""What results are called, and what a run plans to write."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p_runtime import MediaError
from ce2p_runtime.base.leftovers import temporary_name
from ce2p_runtime.media.result_names import ResultNames, names_one_file, single_result
from ce2p_runtime.media.result_plan import plan_results
from ce2p_runtime.media.sinks import open_sink
from ce2p_runtime.media.sources import Source, open_source

LABELS = frozenset({"labels"})


def folder_of(folder: Path, *places: str) -> Source:
    """The source `folder` with pictures at these places."""
    done, data = cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))
    assert done
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(data.tobytes())
    return open_source(folder)


@pytest.mark.parametrize("whole", [False, True])
def test_a_name_depends_on_the_picture_alone(tmp_path: Path, whole: bool) -> None:
    places = [f"{folder}{stem}.png" for folder in ("", "x/", "x/y/") for stem in ("a", "b", "a_2", "x_a", "a_png", "2")]
    source = folder_of(tmp_path / "in", *places)
    together = ResultNames(tmp_path / "out", source, LABELS, whole_names=whole).of_all(source.files)
    assert len({target for kinds in together.values() for target in kinds.values()}) == len(places)
    for file in reversed(source.files):
        alone = ResultNames(tmp_path / "out", source, LABELS, whole_names=whole).of_all([file])
        assert alone == {file: together[file]}


def test_whole_names_of_different_pictures_differ(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", "a.png", "a.jpg", "a.JPG", "a.jpg.png", "a")
    named = ResultNames(tmp_path / "out", source, LABELS, whole_names=True).of_all(source.files)
    assert len({kinds["labels"] for kinds in named.values()}) == 5
    with pytest.raises(MediaError, match="would get the same names as those of"):
        ResultNames(tmp_path / "out", source, LABELS).of_all(source.files)


@pytest.mark.parametrize(
    ("output", "save", "expected"),
    [
        ("out.jpg", None, "overlay"),
        ("out.JPEG", None, "overlay"),
        ("out.webp", {"overlay"}, "overlay"),
        ("out.png", {"labels"}, "labels"),
        ("out.png", {"cutout"}, "cutout"),
        ("out.png", None, None),
        ("out.png", {"labels", "overlay"}, None),
        ("out.jpg", {"labels"}, None),
        ("out.jpg", {"labels", "overlay"}, None),
        ("out.mp4", None, None),
        ("out.png", {"masks"}, None),
    ],
)
def test_one_file_holds_the_one_kind_that_fits_its_suffix(
    tmp_path: Path, output: str, save: set[str] | None, expected: str | None
) -> None:
    folder_of(tmp_path, "a.png")
    picture, path = open_source(tmp_path / "a.png"), tmp_path / output
    wanted = frozenset(save) if save is not None else None
    assert names_one_file(path)
    if expected is None:
        with pytest.raises(MediaError, match="one kind of result that fits"):
            single_result(path, wanted, picture)
    else:
        assert single_result(path, wanted, picture) == {expected: path}
    with pytest.raises(MediaError, match="several pictures; name a folder"):
        single_result(path, wanted, open_source(tmp_path))


def test_folders_are_no_single_files(tmp_path: Path) -> None:
    (tmp_path / "run.png").mkdir()
    assert not names_one_file(tmp_path / "run.png")
    assert not names_one_file(tmp_path / "parsed")


def test_plans_by_what_is_there(tmp_path: Path) -> None:
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    out = tmp_path / "out"
    targets = {file: {kind: out / f"{file.stem}.{kind}" for kind in ("overlay", "labels")} for file in (a, b)}
    assert plan_results(targets, "refuse", [a, b], out).targets == targets
    out.mkdir()
    for name in ("a.overlay", "a.labels", "b.labels"):
        (out / name).write_text("a result")
    with pytest.raises(MediaError, match="3 of 4 results"):
        plan_results(targets, "refuse", [a, b], out)
    skipping = plan_results(targets, "skip", [a, b], out)
    assert skipping.targets == {b: {"overlay": out / "b.overlay"}}
    assert skipping.done == {a}
    assert not skipping.may_replace
    replacing = plan_results(targets, "replace", [a, b], out)
    assert (replacing.targets, replacing.done, replacing.may_replace) == (targets, frozenset(), True)


def test_what_stands_in_the_way_is_found_before_anything_is_parsed(tmp_path: Path) -> None:
    out, a = tmp_path / "out", tmp_path / "a.png"
    (out / "folder").mkdir(parents=True)
    (out / "file").write_text("the user's")
    for kinds, fact in (
        ({"labels": out / "folder"}, "is no regular file"),
        ({"masks": out / "file"}, "is a file, expected a folder"),
        ({"labels": out / "file/x.png"}, "Not a directory"),
        ({"labels": out / ("x" * 300)}, "too long"),
    ):
        with pytest.raises(MediaError, match=fact):
            plan_results({a: kinds}, "replace", [a], out)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells whose a file was")
def test_what_a_killed_run_left_of_these_results_is_removed(tmp_path: Path) -> None:
    def left(name: str) -> Path:
        """A temporary name of a process that had this one's number before."""
        process, start, *others = temporary_name(name).rsplit(".", 2 if "." in name else 1)[1].split("-")
        dead = "-".join([process, f"{int(start, 16) + 1:x}", *others])
        return tmp_path / f".{Path(name).stem}.{dead}{Path(name).suffix}"

    picture, masks, other = left("a_labels.png"), left("a_masks"), left("b_labels.png")
    for file in (picture, other, masks / "a_01_hat.png"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("half")
    targets = {tmp_path / "a.jpg": {"labels": tmp_path / "a_labels.png", "masks": tmp_path / "a_masks"}}
    plan_results(targets, "refuse", [], tmp_path)
    assert list(tmp_path.iterdir()) == [other]


def test_from_python_existing_results_are_replaced_but_sources_are_not(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", "a.png")
    (tmp_path / "in/a_labels.png").write_text("an earlier result")
    with open_sink(tmp_path / "in", source, LABELS):
        pass
    source = folder_of(tmp_path / "in", "a_labels.png")
    with pytest.raises(MediaError, match="is an input"):
        open_sink(tmp_path / "in", source, LABELS)
