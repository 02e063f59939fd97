"""What the tests of commands share: typing one, and small pictures and films to type it on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import pytest

from ce2p import __main__ as command
from ce2p.synthetic import iter_samples, walking_sequence
from ce2p_runtime.media.video_writer import VideoWriter
from tests.cli.command import Ending, Run


@pytest.fixture
def ce2p(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`ce2p("parse", ...)` in this process, in an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ending:
        monkeypatch.setattr("sys.argv", ["ce2p", *map(str, arguments)])
        capsys.readouterr()
        try:
            command.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0) if not isinstance(end.code, str) else 1
        captured = capsys.readouterr()
        return Ending(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic person, 120x100."""
    path = tmp_path_factory.mktemp("picture") / "person.jpg"
    cv2.imwrite(str(path), next(iter_samples(1, 1, (120, 100)))[0])
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A walking person, 30 frames of 96x80."""
    path = tmp_path_factory.mktemp("film") / "walk.mp4"
    with VideoWriter(path, 25, (96, 80)) as writer:
        for index, (frame, _) in enumerate(walking_sequence(0, 30, (96, 80))):
            writer.write(frame, index, Fraction(1, 25))
    return path
