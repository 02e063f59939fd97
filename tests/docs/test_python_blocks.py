"""The Python in README and guides runs as it stands, on a tiny network and drawn people."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import pytest

from ce2p.synthetic import iter_samples, walking_sequence
from ce2p_runtime.media.video_writer import VideoWriter
from tests.docs.documents import DOCUMENTS, code_blocks, name_of

WITH_PYTHON = [document for document in DOCUMENTS if code_blocks(document, "python")]


@pytest.fixture
def files(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with every file that the documentation names."""
    for name in ("lip_fp32_473x473", "lip_int8_473x473", "cihp_global", "cihp_local"):
        shutil.copy(tiny_model, tmp_path / f"{name}.onnx")
    image, labels = next(iter_samples(1, 1, (120, 100)))
    for name in ("photo.jpg", "street.jpg"):
        cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / "people.json").write_text(json.dumps([{"image": "street.jpg", "bbox": [10, 5, 80, 110]}]))
    (tmp_path / "parsed").mkdir()
    cv2.imwrite(str(tmp_path / "parsed/photo_labels.png"), labels)
    with VideoWriter(tmp_path / "walk.mp4", 25, (96, 80)) as writer:
        for index, (frame, _) in enumerate(walking_sequence(0, 3, (96, 80))):
            writer.write(frame, index, Fraction(1, 25))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("document", WITH_PYTHON, ids=name_of)
def test_python_runs(document: Path) -> None:
    names: dict[str, object] = {}
    for number, block in enumerate(code_blocks(document, "python"), start=1):
        exec(compile(block, f"{name_of(document)}, block {number}", "exec"), names)  # noqa: S102  (our own text)
    assert "HumanParser" in names or "PeopleParser" in names


def test_readme_shows_python_on_its_first_screen() -> None:
    readme = next(document for document in DOCUMENTS if document.name == "README.md")
    lines = readme.read_text().splitlines()
    assert lines.index("```python") < 15
