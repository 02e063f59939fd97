"""The scripts in `examples` do what they say, on a tiny network and synthetic people."""

from __future__ import annotations

import io
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ce2p.checkpoints import save_checkpoint
from ce2p.models import CE2P
from ce2p.synthetic import annotated_at, iter_samples, walking_sequence
from ce2p_runtime import read_labels
from ce2p_runtime.media.video_writer import VideoWriter
from tests.runtime.media.live.sender import sending

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
FRAMES, SIZE = 6, (96, 80)
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("serve.py", model)` in this process, in an empty working folder; what it printed."""
    monkeypatch.chdir(tmp_path)

    def example(name: str, *arguments: object) -> str:
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return example


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "person.jpg"
    cv2.imwrite(str(path), next(iter_samples(1, 1, (120, 100)))[0])
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "walk.mp4"
    with VideoWriter(path, 25, SIZE) as writer:
        for index, (frame, _) in enumerate(walking_sequence(0, FRAMES, SIZE)):
            writer.write(frame, index, Fraction(1, 25))
    return path


def test_parse_picture(run: Run, tiny_model: Path, picture: Path) -> None:
    out = run("parse_picture.py", tiny_model, picture)
    shares = [float(line.split()[-1].rstrip("%")) for line in out.splitlines()]
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares))
    assert read_labels("person_labels.png").shape == (120, 100)
    assert cv2.imread("person_overlay.jpg").shape == (120, 100, 3)
    assert cv2.imread("person_clothes.png", cv2.IMREAD_UNCHANGED).shape == (120, 100, 4)


def test_parse_video(run: Run, tiny_model: Path, film: Path) -> None:
    out = run("parse_video.py", tiny_model, film, "out")
    assert len(out.splitlines()) == FRAMES
    capture = cv2.VideoCapture("out/walk_overlay.mp4")
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == FRAMES
    assert Path("out/walk_labels.mkv").exists()


def test_watch(run: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sending("mpegts", "-", frames=FRAMES, rate=0) as sender:
        monkeypatch.setattr("sys.stdin", sender.stdout)
        *lines, account = run("watch.py", tiny_model, "-").splitlines()
    assert len(lines) == FRAMES
    assert account.startswith(f"{FRAMES} frames = {FRAMES} parsed; latency p50")


def test_side_by_side(run: Run, tiny_model: Path, film: Path) -> None:
    run("side_by_side.py", tiny_model, film, "walk.webp")
    with Image.open("walk.webp") as shown:
        assert (shown.height, shown.n_frames) == (300, FRAMES // 2)
        shown.seek(1)
        shown.load()
        assert shown.info["duration"] == 80  # every second frame of 25 per second


def test_several_people(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    sample = annotated_at("cihp", 5, 0, (90, 120))
    assert sample.humans is not None
    cv2.imwrite(str(tmp_path / "street.jpg"), sample.image)
    boxes = [cv2.boundingRect(np.uint8(sample.humans == person)) for person in range(1, int(sample.humans.max()) + 1)]
    Path(tmp_path / "people.json").write_text(json.dumps([{"image": "street.jpg", "bbox": box} for box in boxes]))
    out = run("several_people.py", tiny_model, tiny_model, "street.jpg", "people.json")
    assert out.startswith("person 1: ")
    assert cv2.imread("street_people.jpg").shape == (90, 120, 3)


def test_serve_answers_in_order_and_goes_on_after_a_bad_picture(
    run: Run, tiny_model: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(picture), "missing.jpg", *[str(picture)] * 5]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(names) + "\n"))
    answers = [json.loads(line) for line in run("serve.py", tiny_model).splitlines()]
    assert [answer["picture"] for answer in answers] == names
    assert "missing.jpg" in answers[1]["error"]
    good = [answer for answer in answers if "pixels" in answer]
    assert len(good) == 6
    assert all(sum(answer["pixels"].values()) == 120 * 100 for answer in good)


def test_gpu_array(run: Run, tiny_model: Path) -> None:
    import torch

    if torch.cuda.is_available():
        assert len(run("gpu_array.py", tiny_model, 2).splitlines()) == 2
        return
    with pytest.raises(SystemExit, match=r"^error: .*cuda"):
        run("gpu_array.py", tiny_model, 2)


def test_export(tiny: Callable[..., CE2P], picture: Path, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "net.safetensors", tiny("schp"), "lip", "trained for a test")
    # Random weights agree with themselves in 8 bits only roughly.
    limits = "pixel_agreement=0.5 worst_picture=0.5 boundary_agreement=0.2 class_iou=0 worst_class=0 miou_loss=1"
    loose = [word for limit in limits.split() for word in ("--gate", limit)]
    small = ["--imgsz", "97", "--gate-count", "1", "--backend", "onnxruntime", *loose]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", EXAMPLES / "export.sh", checkpoint, picture.parent, tmp_path / "out", *small],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {"fp32.onnx", "int8.onnx"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert "int8" in done.stdout


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_a_script_without_arguments_says_how_it_is_called(script: Path, run: Run) -> None:
    with pytest.raises(SystemExit, match=rf"python examples/{script.name}"):
        run(script.name)


def test_every_script_is_in_the_list() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    for script in [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.sh")]:
        assert f"[{script.name}]({script.name})" in listed
