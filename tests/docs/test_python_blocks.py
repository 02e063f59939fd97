"""The Python in README and guides runs as it stands, on a tiny network and synthetic people."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import pytest

from ce2p.checkpoints import save_checkpoint
from ce2p.models import CE2P
from ce2p.synthetic import iter_samples, walking_sequence, write_lip_folder
from ce2p_runtime.media.video_writer import VideoWriter
from tests.docs.documents import DOCUMENTS, code_blocks, name_of

WITH_PYTHON = [document for document in DOCUMENTS if code_blocks(document, "python")]


@pytest.fixture
def files(tiny_model: Path, tiny: Callable[..., CE2P], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with every file that the documentation names."""
    for name in ("lip_fp32_473x473", "lip_int8_473x473", "cihp_global", "cihp_local"):
        shutil.copy(tiny_model, tmp_path / f"{name}.onnx")
    image, labels = next(iter_samples(1, 1, (120, 100)))
    for name in ("photo.jpg", "street.jpg"):
        cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / "people.json").write_text(json.dumps([{"image": "street.jpg", "bbox": [10, 5, 80, 110]}]))
    recorded = {"input_size": [65, 65]}  # which its export takes
    save_checkpoint(tmp_path / "lip.safetensors", tiny("schp"), "lip", "untrained", recorded, untrained=True)
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(tmp_path / "photos" / name), image)
    write_lip_folder(tmp_path / "LIP", train=0, val=1, size=(96, 80))
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
    assert {"HumanParser", "PeopleParser", "ce2p"} & set(names)


def test_readme_shows_python_on_its_first_screen() -> None:
    readme = next(document for document in DOCUMENTS if document.name == "README.md")
    lines = readme.read_text().splitlines()
    assert lines.index("```python") < 15
