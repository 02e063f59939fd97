"""`ce2p parse` interrupted from outside: what was done is kept, told and listed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p_runtime.media.video import VideoReader, VideoWriter

FRAMES, FILM_FRAMES = 2000, 500
"""More than are parsed before the signal arrives."""


def interrupted(command: list[str], number: int, folder: Path, written: str) -> tuple[int, str, str]:
    """Run `ce2p`, send it a signal once `written` has something in it; status, standard output and error."""
    with subprocess.Popen(
        [sys.executable, "-m", "ce2p", *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not any(path.stat().st_size for path in folder.glob(written)):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_pictures_that_were_done_are_kept_and_listed(
    tiny_model: Path, picture: Path, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "pictures").mkdir()
    first = tmp_path / "pictures/0.jpg"
    first.write_bytes(picture.read_bytes())
    for index in range(1, FRAMES):
        (tmp_path / f"pictures/{index}.jpg").hardlink_to(first)
    status, out, err = interrupted(
        ["parse", "pictures", "--model", str(tiny_model), "--backend", "onnxruntime", "-o", "out", "--json", "s.json"],
        number,
        tmp_path,
        "out/*_labels.png",
    )
    assert status == 128 + number, err
    assert "Traceback" not in err
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["interrupted"]
    assert 0 < summary["parsed"] < FRAMES
    assert f"interrupted: parsed {summary['parsed']} of {FRAMES} frames to out/" in out
    results = {tmp_path / entry[kind] for entry in summary["results"] for kind in ("labels", "overlay")}
    assert len(results) == 2 * summary["parsed"]
    assert all(cv2.imread(str(path)) is not None for path in results)
    # A picture that was being written when the signal came may be there as well, whole; nothing half done is.
    there = set((tmp_path / "out").iterdir())
    assert results <= there
    assert len(there - results) <= 2
    assert not [path for path in there if path.name.startswith(".")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_video_ends_where_it_was_interrupted(tiny_model: Path, tmp_path: Path, number: signal.Signals) -> None:
    # The labels of noise do not compress: the file that is waited for leaves the writer's buffer after a few frames.
    frame = np.random.default_rng(0).integers(0, 256, (200, 240, 3), np.uint8)
    with VideoWriter(tmp_path / "long.mp4", 25, (200, 240)) as writer:
        for index in range(FILM_FRAMES):
            writer.write(frame, index, writer.frame_rate**-1)
    status, out, err = interrupted(
        ["parse", "long.mp4", "--model", str(tiny_model), "--backend", "onnxruntime", "-o", "out", "--json", "s.json"],
        number,
        tmp_path,
        "out/.long_labels*",
    )
    assert status == 128 + number, err
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["interrupted"]
    assert "interrupted: parsed" in out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"long_labels.mkv", "long_overlay.mp4"}
    for name in ("long_labels.mkv", "long_overlay.mp4"):
        with VideoReader(tmp_path / "out" / name) as video:
            assert 0 < len(list(video)) < FILM_FRAMES
    assert summary["results"] == [
        {"source": "long.mp4", "overlay": "out/long_overlay.mp4", "labels": "out/long_labels.mkv"}
    ]
