"""`ce2p people` on pictures of several synthetic people: results, overlays, counts, and refusals in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ce2p.cli.announcements import show_announcements
from ce2p.cli.people import run as command
from ce2p.errors import ConfigError
from ce2p.synthetic import annotated_at
from ce2p_runtime import MediaError
from ce2p_runtime.backends import Backend
from ce2p_runtime.backends.averaging import AveragedBackend
from ce2p_runtime.people import read_people

ROOT = Path(__file__).parent.parent.parent
SIZE = (90, 120)
Options = dict[str, Any]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures in `images`; `humans` knows the people of the first two, and of one that is not there."""
    folder = tmp_path_factory.mktemp("people")
    for name in ("images", "humans"):
        (folder / name).mkdir()
    for index, name in enumerate(("one", "two", "three")):
        sample = annotated_at("cihp", 5, index, SIZE)
        cv2.imwrite(str(folder / f"images/{name}.jpg"), sample.image)
        assert sample.humans is not None
        Image.fromarray(sample.humans).save(folder / f"humans/{'other' if name == 'three' else name}.png")
    return folder


@pytest.fixture
def options(pictures: Path, tiny_model: Path, tmp_path: Path) -> Options:
    """What `ce2p.parse_people` takes, for the three pictures with two networks."""
    show_announcements()
    return {
        "source": str(pictures / "images"),
        "output": tmp_path / "out",
        "whole": tiny_model,
        "local": (tiny_model,),
        "instances": pictures / "humans",
        "threads": 1,
    }


def run(options: Options, json: str | None = None, **changes: object) -> None:
    command(**{**options, **changes}, json=json, overwrite=changes.get("existing") == "replace")


def summary_of(options: Options, tmp_path: Path) -> dict[str, object]:
    run(options, json=str(tmp_path / "summary.json"), existing="replace")
    return dict(json.loads((tmp_path / "summary.json").read_text()))


def test_pictures_are_parsed_written_and_counted(
    options: Options, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = summary_of(options, tmp_path)
    people = {name: int(np.asarray(Image.open(pictures / f"humans/{name}.png")).max()) for name in ("one", "two")}
    assert summary["parsed"] == 3
    assert summary["people"] == sum(people.values())
    assert summary["without_instances"] == ["three.jpg"]
    assert summary["instances_of_other_pictures"] == 1
    assert summary["people_left_out"] == 0
    for name, number in people.items():
        stored = read_people(options["output"], name)
        assert stored.human_scores == (1.0,) * number
        assert stored.labels.shape == SIZE
        assert len(np.unique(stored.parts)) - 1 == len(stored.part_scores)
    alone = read_people(options["output"], "three")
    assert (alone.human_scores, alone.part_scores) == ((), ())
    overlays = options["output"] / "overlays"
    assert sorted(file.name for file in overlays.iterdir()) == ["one.jpg", "three.jpg", "two.jpg"]
    printed = capsys.readouterr()
    assert "parsed 3 pictures" in printed.out
    assert "global parsing only: three.jpg" in printed.out
    assert "also holds 1 pictures that were not parsed" in printed.out
    assert "local: tiny.onnx: schp" in printed.err


def test_only_what_was_asked_for_is_saved(options: Options) -> None:
    run(options, save=frozenset({"overlay"}), refine=False)
    assert [entry.name for entry in options["output"].iterdir()] == ["overlays"]


def test_people_below_the_threshold_are_counted(options: Options, tmp_path: Path) -> None:
    entries = [
        {"image": "one.jpg", "bbox": [5, 5, 50, 80], "score": 0.95},
        {"image": "one.jpg", "bbox": [60, 5, 50, 80], "score": 0.6},
        {"image": "two.jpg", "bbox": [5, 5, 50, 80], "score": 0.5},
        {"image": "two.jpg", "bbox": [5, 5, 50, 80], "category_id": 18},
    ]
    (tmp_path / "people.json").write_text(json.dumps(entries))
    request = {**options, "instances": tmp_path / "people.json", "local": ()}
    summary = summary_of(request, tmp_path)
    assert (summary["people"], summary["people_left_out"]) == (1, 2)
    assert summary["without_people"] == ["two.jpg"]
    assert summary["instances_of_other_categories"] == 1
    assert read_people(request["output"], "one").human_scores == (0.95,)
    assert summary_of({**request, "threshold": 0.55}, tmp_path)["people"] == 2
    with pytest.raises(MediaError, match=r"one\.jpg: mask NMS needs a mask for every person"):
        run(request, nms=True, existing="replace")


def test_it_runs_where_torch_cannot_be_imported(options: Options, pictures: Path, tiny_model: Path) -> None:
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        blocked = {'torch', 'torchvision', 'safetensors', 'onnx', 'ce2p_export'}\n"
        "        if name.partition('.')[0] in blocked: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import ce2p\n"
        f"ce2p.parse_people({str(pictures / 'images/one.jpg')!r}, {str(options['output'])!r},\n"
        f"    whole={str(tiny_model)!r}, instances={str(pictures / 'humans')!r})"
    )
    path = ":".join(str(folder) for folder in (ROOT, ROOT / "export", ROOT / "runtime"))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path, "PATH": ""}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (options["output"] / "global_tag/one.png").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instances": None}, "--instances FILE_OR_FOLDER or --detector maskrcnn"),
        ({"detector": "maskrcnn"}, "name one"),
        ({"instances": None, "detector": "yolo"}, "unknown detector 'yolo'"),
        ({"detector_weights": Path("w.pth")}, "is for --detector maskrcnn"),
        ({"whole": None, "local": ()}, "no network"),
        ({"save": frozenset({"labels"})}, "cannot save 'labels'"),
        ({"save": frozenset()}, "cannot save 'nothing'"),
        ({"part_score": "best"}, "unknown part score 'best'"),
    ],
)
def test_contradictory_options_are_refused(options: Options, change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        run(options, **change)
    assert message in str(error.value)
    assert not options["output"].exists()


def test_videos_and_shared_names_are_refused_before_anything_runs(options: Options, tmp_path: Path) -> None:
    from fractions import Fraction

    from ce2p_runtime.media.video import VideoWriter

    picture = np.zeros((32, 32, 3), np.uint8)
    with VideoWriter(tmp_path / "walk.mp4", Fraction(25), (32, 32)) as video:
        for index in range(3):
            video.write(picture, index, Fraction(1, 25))
    with pytest.raises(MediaError, match=r"walk\.mp4: is a video, `ce2p people` takes pictures only"):
        run(options, source=str(tmp_path / "walk.mp4"))
    (tmp_path / "same").mkdir()
    for suffix in ("jpg", "png"):
        cv2.imwrite(str(tmp_path / f"same/a.{suffix}"), picture)
    with pytest.raises(MediaError, match="its results would get the same name"):
        run(options, source=str(tmp_path / "same"))
    assert not options["output"].exists()


def test_a_damaged_picture_is_named_and_the_others_are_kept(options: Options, pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    data = (pictures / "images/one.jpg").read_bytes()
    (folder / "one.jpg").write_bytes(data)
    (folder / "two.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"two\.jpg: is cut short.*1 parsed and kept"):
        run(options, source=str(folder), local=())
    assert read_people(options["output"], "one").labels.shape == SIZE
    assert (options["output"] / "results.txt").read_text().startswith("one 1 1.0")


def test_the_detector_supplies_the_people(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ce2p import detection

    class Stub:
        description = "stub on cpu"

        def __init__(self, weights: Path | None, device: str) -> None:
            assert (weights, device) == (tmp_path / "w.pth", "auto")

        def __call__(self, frame: np.ndarray, threshold: float) -> list[detection.DetectedPerson]:
            mask = np.zeros(frame.shape[:2], np.bool_)
            mask[10:80, 20:60] = True
            return [detection.DetectedPerson((20.0, 10.0, 60.0, 80.0), mask, score) for score in (0.9, 0.6)]

    monkeypatch.setattr(detection, "MaskRCNN", Stub)
    detector = {"detector": "maskrcnn", "detector_weights": tmp_path / "w.pth"}
    request = {**options, **detector, "instances": None, "local": ()}
    summary = summary_of(request, tmp_path)
    assert (summary["people"], summary["people_left_out"]) == (3, 3)
    assert read_people(request["output"], "three").human_scores == (0.9,)
    assert "stub on cpu" in capsys.readouterr().err


def test_flipping_wraps_every_network_once(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = []

    class Counted(AveragedBackend):
        def __init__(self, backend: Backend, *, flip: bool) -> None:
            assert flip
            wrapped.append(backend)
            super().__init__(backend, flip=flip)

    monkeypatch.setattr("ce2p_runtime.people.people_parser.AveragedBackend", Counted)
    run(options, flip=True)
    assert len(wrapped) == 2


def test_results_are_not_replaced_unasked_and_inputs_never(
    options: Options, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {**options, "source": str(pictures / "images/one.jpg"), "local": ()}
    run(one)
    before = {path: path.read_bytes() for path in options["output"].rglob("*.*")}
    with pytest.raises(MediaError, match="exists, 5 of 5 results in all"):
        run(one)
    assert {path: path.read_bytes() for path in options["output"].rglob("*.*")} == before
    (options["output"] / "global_tag/one.png").unlink()
    (options["output"] / "overlays/one.jpg").write_bytes(b"kept")
    run(one, existing="skip")
    assert (options["output"] / "global_tag/one.png").read_bytes() == before[options["output"] / "global_tag/one.png"]
    assert (options["output"] / "overlays/one.jpg").read_bytes() == b"kept"
    capsys.readouterr()
    run(one, existing="skip")
    assert "1 pictures have their results already, which are kept" in capsys.readouterr().err
    run(one, existing="replace")
    assert (options["output"] / "overlays/one.jpg").read_bytes() == before[options["output"] / "overlays/one.jpg"]
    # The people of a second run are read from where its own would be written.
    with pytest.raises(MediaError, match=r"one\.png: is an input"):
        run(one, instances=options["output"] / "global_tag", existing="replace")
    with pytest.raises(MediaError, match=r"people\.json: is an input|expected a name ending in \.json"):
        run(one, json=str(pictures / "images/one.jpg"), existing="replace")


def test_more_people_than_results_hold_are_one_line_before_anything_is_parsed(options: Options, tmp_path: Path) -> None:
    (tmp_path / "crowd.json").write_text(json.dumps([{"image": "one", "bbox": [0, 0, 9, 9]}] * 256))
    with pytest.raises(MediaError, match=r"crowd\.json: one: 256 people in one picture, expected at most 255"):
        run(options, instances=tmp_path / "crowd.json", local=())
    assert not (options["output"] / "results.txt").exists()
