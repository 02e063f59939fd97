"""`ce2p demo`: the whole way once, from nothing to a parsed video, on synthetic people.

Data in LIP's layout -> a tiny network trained on them -> a proven ONNX file -> a parsed video and photograph, pictures
to look at, and a latency table. Every figure it prints is measured in this run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ce2p.api.validation import SHOWN, paint_sheet
from ce2p.data.splits import open_split
from ce2p.errors import CE2PError
from ce2p.evaluation.scores import ConfusionMatrix
from ce2p.evaluation.scoring import score
from ce2p.labels import label_set
from ce2p.models import CE2P
from ce2p.synthetic import walking_sequence, write_lip_folder
from ce2p_export import GraphOptions, export_onnx, export_plain, open_model
from ce2p_runtime import HumanParser
from ce2p_runtime.measuring.timing import interleave
from ce2p_runtime.media.sinks import open_sink
from ce2p_runtime.media.sources import open_source
from ce2p_runtime.media.video import VideoWriter
from ce2p_runtime.process.telemetry import import_onnxruntime

from .console import progress_bar, remark, say, table
from .export_report import fold_table, proof_table
from .train import train_shown

MODEL, RECIPE, DATASET = "lip-r18-os16", "tiny", "lip"
SIZE = (192, 160)
TRAIN_PICTURES, VAL_PICTURES = 1000, 60
VIDEO_FRAMES, VIDEO_SIZE, VIDEO_RATE = 75, (480, 400), 25
PROMISED_MIOU = 0.5
EPOCHS = 6
"""Enough for that promise."""
TIMING_ROUNDS = 60


def run(output: Path, epochs: int, seed: int) -> None:
    """Run the demo into `output`. Raises CE2PError when a step fails or the network does not learn to follow."""
    if output.exists() and any(output.iterdir()):
        raise CE2PError(f"{output}: exists and is not empty; remove it or choose another folder with -o")
    started = time.perf_counter()
    data = output / "synthetic-lip"
    _make_data(data, seed)
    checkpoint = _train(data, output / "run", epochs, seed)
    model = _export(checkpoint, output / "tiny_fp32_192x160.onnx")
    with HumanParser(model) as parser:
        say("")
        say(str(parser))
        miou = _score(parser, data, output / "input_truth_prediction.png")
        _parse_video(parser, output, seed)
        _parse_photograph(parser, output)
        _time(parser, checkpoint, model, output)
    minutes = (time.perf_counter() - started) / 60
    say("")
    say(f"done in {minutes:.1f} minutes; mIoU {miou:.2f} on people the network never saw")
    if epochs >= EPOCHS and not miou >= PROMISED_MIOU:  # a shorter run is the user's own choice
        raise CE2PError(
            f"the network did not learn to follow the figure: mIoU {miou:.2f}, expected {PROMISED_MIOU} or more"
        )
    say(f"look at {output}/input_truth_prediction.png and play {output}/walk_overlay.mp4")


def _make_data(folder: Path, seed: int) -> None:
    with _bar("drawing people", TRAIN_PICTURES + VAL_PICTURES, "pictures") as advance:
        write_lip_folder(
            folder,
            train=TRAIN_PICTURES,
            val=VAL_PICTURES,
            size=SIZE,
            seed=seed,
            progress=lambda step, done, total: advance(done, ""),
        )


def _train(data: Path, folder: Path, epochs: int, seed: int) -> Path:
    """A run of `ce2p train` with the tiny recipe; the checkpoint it ends with."""
    started = time.perf_counter()
    overrides = (f"epochs={epochs}", f"seed={seed}", f"input_size=[{SIZE[0]}, {SIZE[1]}]")
    train_shown(MODEL, data, recipe=RECIPE, overrides=overrides, output=folder, validate_every=0)
    say(f"training the tiny network: {epochs} epochs, {time.perf_counter() - started:.0f} s")
    return folder / "last.safetensors"


def _export(checkpoint: Path, path: Path) -> Path:
    source = open_model(str(checkpoint))
    remark("exporting ...")
    exported = export_onnx(source, GraphOptions(SIZE), path)
    say("")
    fold_table(exported.folds)
    assert exported.proof is not None  # noqa: S101  (float32 exports are proved)
    proof_table(exported.proof)
    return exported.path


def _score(parser: HumanParser, data: Path, picture: Path) -> float:
    """mIoU of the exported file on the validation people; the first ones as a picture."""
    labels, samples = label_set(DATASET), open_split(DATASET, data, "val")
    scores = score(parser, samples, labels)
    paint_sheet(picture, parser, samples[:SHOWN], labels)
    names, iou = labels.names, scores.iou
    best = ", ".join(f"{names[i]} {iou[i]:.2f}" for i in np.argsort(-np.nan_to_num(iou)))
    say(f"IoU on {len(samples)} unseen people: {best}")
    return scores.mean_iou_present


def _parse_video(parser: HumanParser, output: Path, seed: int) -> None:
    """Film a walking person, parse the film as `ce2p parse` does, and compare every frame with the truth."""
    film = output / "walk.mp4"
    time_base = Fraction(1, VIDEO_RATE)
    truths = []
    walk = walking_sequence(seed + 1, VIDEO_FRAMES, VIDEO_SIZE, VIDEO_RATE)
    with _bar("filming", VIDEO_FRAMES, "frames") as advance, VideoWriter(film, VIDEO_RATE, VIDEO_SIZE) as writer:
        for index, (drawn, truth) in enumerate(walk):
            writer.write(drawn, index, time_base)
            truths.append(truth)
            advance(index + 1, "")
    matrix = ConfusionMatrix(parser.metadata.num_classes)
    with open_source(film) as source, open_sink(output, source, frozenset({"overlay", "labels"})) as sink:
        with _bar("parsing the video", VIDEO_FRAMES, "frames") as advance:
            for frame, result in parser.parse_frames(source):
                sink.write(frame, result)
                matrix.add(truths[frame.index], result.labels)
                advance(frame.index + 1, "")
        source.raise_problem()
    say(
        f"video: {len(truths)} frames, mIoU {matrix.mean_iou_present():.2f}, "
        f"pixel accuracy {matrix.pixel_accuracy():.1%}"
    )


def _parse_photograph(parser: HumanParser, output: Path) -> None:
    """A real person, whom a network trained on drawings understands only roughly; the pipeline is what it shows."""
    from skimage import data

    photograph = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    parser(photograph).save_overlay(output / "astronaut_overlay.jpg", photograph)
    say("photograph: astronaut_overlay.jpg (the network knows drawings only; expect rough shapes)")


def _time(parser: HumanParser, checkpoint: Path, model: Path, output: Path) -> None:
    """The network alone, interleaved: PyTorch, the export of a naive script, ours."""
    onnxruntime = import_onnxruntime()
    net = open_model(str(checkpoint)).net
    plain = export_plain(net, output / "tiny_plain.onnx", SIZE)
    image = np.random.default_rng(0).standard_normal((1, 3, *SIZE), np.float32)
    naive = onnxruntime.InferenceSession(str(plain), providers=["CPUExecutionProvider"])
    name = naive.get_inputs()[0].name
    rivals: dict[str, Callable[[], object]] = {
        "PyTorch, as trained": lambda: _forward(net, image),
        "ONNX Runtime, naive export": lambda: naive.run(None, {name: image}),
        f"{parser.backend.name}, {model.name}": lambda: parser.backend.run(image),
    }
    remark("timing the network against its rivals ...")
    timings = interleave(rivals, rounds=TIMING_ROUNDS, warmup=5)
    base = timings["ONNX Runtime, naive export"].median_ms
    rows = [(n, f"{t.median_ms:.1f}", f"{t.p95_ms:.1f}", f"{t.median_ms / base:.2f}") for n, t in timings.items()]
    say("")
    table(
        f"Network alone, {SIZE[0]}x{SIZE[1]}, batch 1, this machine, interleaved",
        ("", "median ms", "p95 ms", "against naive"),
        rows,
    )


def _forward(net: CE2P, image: NDArray[np.float32]) -> None:
    with torch.inference_mode():
        net(torch.from_numpy(image))


@contextmanager
def _bar(title: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:
    """A progress bar as a function of (done, note); one line on standard output once it is complete."""
    started = time.perf_counter()
    with progress_bar(unit) as progress:
        task = progress.add_task(title, total=total, note="")
        yield lambda done, note: progress.update(task, completed=done, note=note)
    say(f"{title}: {total} {unit}, {time.perf_counter() - started:.0f} s")
