"""`ce2p train` as a user types it: what it says, what it leaves, and what it refuses in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ce2p.checkpoints import load_checkpoint, save_checkpoint
from ce2p.labels import LabelSet
from ce2p.models import CE2P
from ce2p.synthetic import write_dataset, write_lip_folder
from tests.cli.command import Run, error_line

ROOT = Path(__file__).parent.parent.parent
QUICK = ("--recipe", "tiny", "--set", "input_size=64", "--set", "batch=4", "--set", "epochs=1", "--device", "cpu")
Folder = Callable[[], Path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight pictures to train on and two to score on, the test's own."""
    root = tmp_path / "lip"
    write_lip_folder(root, train=8, val=2, size=(64, 64), seed=3)
    return root


def test_a_run_leaves_what_the_next_commands_take(ce2p: Run, data: Path, tmp_path: Path) -> None:
    ending = ce2p("train", "lip-r18-os16", "--data", data, "-o", "run", *QUICK, "--workers", 1)
    assert ending.status == 0, ending.err
    run = tmp_path / "run"
    names = {path.name for path in run.iterdir()}
    expected = {
        "config.yaml",
        "data.json",
        "snapshots",
        "losses.csv",
        "scores.csv",
        "tensorboard",
        "pictures",
        "last.safetensors",
        "best.safetensors",
    }
    assert names == expected
    assert "random weights" in ending.err
    assert "tiny (ssseg), 8 pictures of Look into Person, 64x64, batch 4, 1 epochs of 2 steps, fp32" in ending.err
    assert "training data: train_id.txt" in ending.err
    assert "epoch 1: mIoU" in ending.out
    assert "next: ce2p val run/best.safetensors" in ending.out
    sheet = cv2.imread(str(run / "pictures/epoch-0001.jpg"))
    assert sheet is not None
    assert np.ptp(sheet) > 100
    loaded = load_checkpoint(run / "best.safetensors")
    assert loaded.weights == "trained 1 of 1 epochs on 8 pictures of Look into Person (recipe tiny)"
    assert loaded.input_size == (64, 64)
    # The figure in training, the checkpoint's and the exported file's are one and the same.
    in_training = (run / "scores.csv").read_text().splitlines()[1].split(",")[2]
    assert ce2p("export", "run/best.safetensors", "-o", "best.onnx").status == 0
    for model in ("run/best.safetensors", "best.onnx"):
        scores = tmp_path / f"{Path(model).name}.json"
        scored = ce2p("val", model, "--data", data, "--json", scores)
        assert scored.status == 0, scored.err
        text = scores.read_text()
        assert f'"mean_iou": {float(in_training):.5f}'[:-1] in text, (model, in_training)
    again = ce2p("train", "run/config.yaml", "--data", data, "-o", "again", "--device", "cpu")
    assert again.status == 0, again.err
    first, second = load_file(run / "last.safetensors"), load_file(tmp_path / "again/last.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_fine_tuning_on_classes_of_ones_own_names_what_begins_anew(
    ce2p: Run, tiny: Callable[..., CE2P], tmp_path: Path
) -> None:
    write_dataset(tmp_path / "mine", "custom", train=4, val=1, size=(64, 64), seed=1)
    names = tuple((tmp_path / "mine/classes.txt").read_text().split("\n")[:-1])
    start = save_checkpoint(tmp_path / "start.safetensors", tiny("ssseg"), "lip", "untrained, seed 0", untrained=True)
    ending = ce2p("train", "custom-r18-os16", "--data", "mine", "--init", start, "-o", "run", *QUICK)
    assert ending.status == 0, ending.err
    for layer in ("fusion.classifier", "stage1_classifier"):
        assert layer in ending.err
    tuned = load_checkpoint(tmp_path / "run/last.safetensors")
    assert isinstance(tuned.labels, LabelSet)
    assert (tuned.labels.dataset, tuned.labels.names) == ("custom", names)
    assert ("Left-arm", "Right-arm") in {(names[left], names[right]) for left, right in tuned.labels.flip_pairs}
    scored = ce2p("val", "run/last.safetensors", "--data", "mine")
    assert scored.status == 0, scored.err
    assert names[1] in scored.out


def missing_label(root: Path) -> None:
    (root / "train_segmentations/train_000003.png").unlink()


def label_out_of_range(root: Path) -> None:
    cv2.imwrite(str(root / "train_segmentations/train_000003.png"), np.full((64, 64), 20, np.uint8))


def other_size(root: Path) -> None:
    cv2.imwrite(str(root / "train_segmentations/train_000003.png"), np.ones((64, 63), np.uint8))


def empty_list(root: Path) -> None:
    (root / "train_id.txt").write_text("")


def cut_picture(root: Path) -> None:
    path = root / "train_images/train_000003.jpg"
    path.write_bytes(path.read_bytes()[:700])


def cut_label(root: Path) -> None:
    path = root / "train_segmentations/train_000003.png"
    path.write_bytes(path.read_bytes()[:60])


def masks_of_0_and_255(root: Path) -> None:
    for path in (root / "train_segmentations").iterdir():
        cv2.imwrite(str(path), np.where(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0, 255, 0).astype(np.uint8))


def no_val_list(root: Path) -> None:
    (root / "val_id.txt").unlink()


@pytest.mark.parametrize(
    ("damage", "facts"),
    [
        (
            masks_of_0_and_255,
            ("train_segmentations: holds no value but 0 (background) and 255 (ignore)", "class numbers"),
        ),
        (no_val_list, ("val_id.txt: not there", "--val-every 0")),
        (missing_label, ("train_000003.png", "no such file")),
        (label_out_of_range, ("train_000003.png", "20", "0 to 19")),
        (other_size, ("train_000003.png", "64x63", "64x64")),
        (empty_list, ("train_id.txt", "lists no id")),
        (cut_picture, ("train_000003.jpg",)),
        (cut_label, ("train_000003.png",)),
    ],
)
def test_bad_data_is_one_line_from_training_and_from_the_check(
    ce2p: Run, data: Path, damage: Callable[[Path], None], facts: tuple[str, ...]
) -> None:
    damage(data)
    for workers in (0, 1):
        # No class weights: counting the classes would find the damage before the loader does.
        line = error_line(
            ce2p(
                "train",
                "lip-r18-os16",
                "--data",
                data,
                "-o",
                f"run{workers}",
                "--workers",
                workers,
                *QUICK,
                "--set",
                "loss.class_weights=false",
            )
        )
        assert all(fact in line for fact in facts), line
    checked = ce2p("data", "check", data)
    assert all(fact in error_line(checked) + checked.out for fact in facts), checked


def test_a_full_disk_ends_the_run_with_one_line_and_loses_nothing(data: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the write fails in the system, in the middle."""
    run = tmp_path / "run"
    command = [
        "train",
        "lip-r18-os16",
        "--data",
        str(data),
        "-o",
        str(run),
        *QUICK,
        "--workers",
        "0",
        "--snapshot-minutes",
        "0",
    ]
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "limit = int(sys.argv.pop(1))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "from ce2p.__main__ import main\n"
        "main()\n"
    )
    paths = os.pathsep.join(str(ROOT / part) for part in ("", "export", "runtime"))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    limit = 20_000_000  # the first snapshot fits (weights alone), the second, with the optimiser's state, does not
    done = subprocess.run(
        [sys.executable, "-c", code, str(limit), *command], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "step-000000001.pt: cannot be written" in errors[0]
    assert "Traceback" not in done.stderr
    assert [path.name for path in (run / "snapshots").iterdir()] == ["step-000000000.pt"]
    resumed = subprocess.run(
        [sys.executable, "-m", "ce2p", *command, "--resume"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert (run / "last.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("lip-r18-os16", "--set", "optimiser.rl=1"), ("optimiser.rl", "lr")),
        (("lip-r18-os16", "--set", "batch=many"), ("batch", "many")),
        (("lip-r18-os16", "--recipe", "best"), ("best", "schp")),
        (("lip-r19-os16",), ("lip-r19-os16",)),
        (("lip-r18-os16", "--set", "batch=16"), ("8 pictures", "batch of 16")),
        (("lip-r18-os16", "--init", "nowhere.pth"), ("nowhere.pth",)),
        (("lip-r18-os16", "--device", "cuda:7"), ("cuda:7",)),
        (("lip-r18-os16", "--resume"), ("no run to resume",)),
        (("cihp-r18-os16",), ("lip",)),
    ],
)
def test_wrong_wishes_are_one_line_and_leave_no_run(
    ce2p: Run, data: Path, tmp_path: Path, arguments: tuple[str, ...], facts: tuple[str, ...]
) -> None:
    own = ("--set", "batch=4") if not any("batch=" in argument for argument in arguments) else ()
    line = error_line(ce2p("train", *arguments, "--data", data, "-o", "run", "--set", "input_size=64", *own))
    assert all(fact in line for fact in facts), line
    assert not (tmp_path / "run").exists()


def test_a_folder_with_classes_of_its_own_does_not_train_a_published_data_sets(
    ce2p: Run, data: Path, tmp_path: Path
) -> None:
    (data / "classes.txt").write_text("background\nshirt\ntrousers\n")
    line = error_line(ce2p("train", "lip-r18-os16", "--data", data, "-o", "run", *QUICK))
    assert "classes.txt: lists 3 classes (background, shirt, trousers, ...), Look into Person has 20 others" in line
    assert "the model custom-r18-os16" in line
    assert not (tmp_path / "run").exists()


def test_two_processes_train_one_network(data: Path, tmp_path: Path) -> None:
    """torchrun over gloo: the batch stays the recipe's, statistics are the whole batch's, one process writes.

    mce2p has no dropout, which each process would draw for itself; so the weights are those of one process, up to
    rounding.
    """
    wishes = ("input_size=64", "batch=4", "epochs=1", "optimiser.lr=0.001")
    shared = [
        "-m",
        "ce2p",
        "train",
        "lip-r18-os16",
        "--recipe",
        "mce2p",
        "--data",
        str(data),
        "--device",
        "cpu",
        "--workers",
        "0",
        "--val-every",
        "0",
        *(part for wish in wishes for part in ("--set", wish)),
    ]
    paths = os.pathsep.join(str(ROOT / part) for part in ("", "export", "runtime"))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, start in (("two", torchrun), ("one", [])):
        done = subprocess.run(
            [sys.executable, *start, *shared, "-o", str(tmp_path / name)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "batch 4" in done.stderr
    two, one = (load_file(tmp_path / name / "last.safetensors") for name in ("two", "one"))
    for name in one:
        torch.testing.assert_close(two[name].double(), one[name].double(), rtol=1e-3, atol=1e-4)
