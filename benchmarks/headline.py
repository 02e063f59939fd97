"""The headline figures: every peer, whole frames and the machine's ceilings, in one interleaved run, with the gate.

    python -m benchmarks.headline --checkpoint C.safetensors --data DIR [--calib DIR] [--files fp32.onnx int8.onnx ...]
        [--imgsz 473] [--rounds 15] [--out benchmarks/results/headline]
    python -m benchmarks.headline --render benchmarks/results/headline/headline.json

Files are made first (the naive export, ONNX Runtime's own static INT8 of it, ours by `ce2p export` unless --files
names them), all calibrated on the same pictures. Then every peer is compared with PyTorch: float32 logits must agree
or the peer is not timed, and the gate judges everybody's labels on the pictures of --data. Only then the clock starts.
Writes headline.json (every sample), headline.md, headline.png and .svg, and the roofline beside them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.ceiling_sources import sources
from benchmarks.ceilings import Reached, Source, best_of, ceilings_of, measure
from benchmarks.headline_report import write_report
from benchmarks.headline_result import FRAME, NETWORK, Measured, document_of
from benchmarks.peer_frames import FrameRun, check_usual, frame_runs
from benchmarks.rival_files import OURS, Workshop, calibration_pictures
from benchmarks.rivals import COMPILE_SECONDS, EAGER, NAIVE, Peer, Peers, check_exact, our_peers, rivals
from ce2p.api.pictures import GATE_PICTURES, choose_pictures
from ce2p.benchmarking.frames import drawn_footage
from ce2p.benchmarking.machine_state import MachineState, disturbances
from ce2p.checkpoints import LoadedCheckpoint, load_checkpoint
from ce2p.cli.arguments import image_size
from ce2p.cli.console import remark
from ce2p.errors import CE2PError, ConfigError
from ce2p_export.torch_backend import TorchBackend
from ce2p_runtime.backends.base import check_model_file, metadata_from
from ce2p_runtime.frame_steps import network_input
from ce2p_runtime.judge import GateReport, Reference, judge_labels
from ce2p_runtime.measuring.timing import REST, Timing, interleave_stages, timed
from ce2p_runtime.model_files.onnx_file import onnx_properties

__all__ = ["HeadlineRequest", "measure_headline"]

FRAMES = 3
"""Drawn frames that are parsed in turn."""
CALLS = 3
"""Of a ceiling's source in each round: its best counts."""


@dataclass(frozen=True)
class HeadlineRequest:
    """The command's options."""

    checkpoint: Path
    data: Path
    """Pictures for the gate, a data set with truth or a folder."""
    calib: Path | None = None
    """Pictures to calibrate on; None: the training split of `data`."""
    files: tuple[Path, ...] = ()
    """Ours; empty: made by `ce2p export` as `exports` say."""
    exports: tuple[str, ...] = tuple(OURS)
    size: tuple[int, int] | None = None
    """(height, width) of the input; None: that of `files`, else the checkpoint's own."""
    dataset: str | None = None
    rounds: int = 15
    warmup: int = 2
    threads: int | None = None
    frame: tuple[int, int] = (1080, 1920)
    pictures: int = GATE_PICTURES
    compile_seconds: int = COMPILE_SECONDS
    """0 leaves torch.compile out."""
    ceilings: bool = True
    work: Path | None = None
    """Folder that keeps the files; None: they are thrown away."""


def measure_headline(request: HeadlineRequest) -> dict[str, Any]:
    """Everything, as a JSON-ready document. Raises CE2PError for what cannot be read."""
    loaded = load_checkpoint(request.checkpoint, dataset=request.dataset)
    with ExitStack() as stack:
        folder = request.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        peers = _open(request, loaded, folder)
        for peer in peers.ready:
            stack.callback(peer.parser.close)
        for name, reason in peers.missing.items():
            remark(f"not measured: {name}: {reason}")
        if not {EAGER, NAIVE} <= {peer.name for peer in peers.ready}:
            raise ConfigError(f"{EAGER} and {NAIVE} are what all is compared with, and one of them cannot run here")
        return _measure(request, loaded, peers)


def _open(request: HeadlineRequest, loaded: LoadedCheckpoint, folder: Path) -> Peers:
    """All peers that can run here, loaded."""
    metadata = TorchBackend.of(loaded, _input_size(request, loaded)).metadata
    shop = Workshop(loaded, metadata, folder, request.data, request.dataset)
    calibration = calibration_pictures(request.calib or request.data, folder)
    peers = Peers()
    for name, make in rivals(shop, calibration, request.threads, request.compile_seconds):
        remark(f"preparing {name} ...")
        peers.add(name, make)
    files = list(request.files)
    for which in () if files else request.exports:
        remark(f"exporting ours in {which} ...")
        try:
            files.append(shop.ours(which, calibration))
        except RuntimeError as error:
            peers.missing[f"ours {which}"] = str(error)
    for name, make in our_peers(files, request.threads):
        remark(f"preparing {name} ...")
        peers.add(name, make)
    return peers


def _input_size(request: HeadlineRequest, loaded: LoadedCheckpoint) -> tuple[int, int]:
    """That of all peers. Raises ConfigError for a file with another one, ModelFileError for one that is not ours."""
    for file in request.files:
        check_model_file(file)
    sizes = {file: metadata_from(file, onnx_properties(file)).input_size for file in request.files}
    size = request.size or next(iter(sizes.values()), loaded.input_size)
    for file, own in sizes.items():
        if own != size:
            raise ConfigError(
                f"{file}: its input is {own[0]}x{own[1]}, that of the others {size[0]}x{size[1]}; export it again"
            )
    return size


def _measure(request: HeadlineRequest, loaded: LoadedCheckpoint, peers: Peers) -> dict[str, Any]:
    metadata = peers[EAGER].parser.metadata
    pictures, described = choose_pictures(request.data, metadata, request.pictures)
    described = described.replace(str(request.data), request.data.name)  # results are passed on: no paths in them
    distances = check_exact(peers, pictures[0].image)
    reference = Reference.of(peers[EAGER].parser, pictures, request.checkpoint.name)
    reports: dict[str, GateReport] = {}
    for peer in peers.ready:
        remark(f"judging {peer.name} on {len(pictures)} pictures ...")
        reports[peer.name] = judge_labels(reference, peer.parser)
    frames = drawn_footage(request.frame).first(FRAMES)
    runs = frame_runs(peers)
    agreement = check_usual(runs, peers, frames)
    reached, winners, not_reached = _ceilings(request)
    stages, before, after = _rounds(request, peers, runs, frames, winners)
    for source in winners:
        fastest = min(stages[_ceiling(source)]["best"].samples)
        reached.append(Reached(source.resource, source.name, source.amount / fastest * 1e3))
    settings = {
        "checkpoint": request.checkpoint.name,
        "sha256": loaded.sha256,
        "network": loaded.config.name,
        "weights": loaded.weights,
        "input_size": list(metadata.input_size),
        "frame": list(request.frame),
        "frames": f"{FRAMES} drawn frames",
        "rounds": request.rounds,
        "warmup": request.warmup,
        "rest_ms": REST * 1e3,
        "threads": request.threads or "default",
        "opencv_threads": cv2.getNumThreads(),
        "gate": {"pictures": described, "count": len(pictures), "reference": f"{reference.name} in PyTorch"},
    }
    measured = Measured(
        peers,
        runs,
        stages,
        distances,
        reports,
        agreement,
        ceilings_of(reached),
        tuple(reached),
        {**peers.missing, **not_reached},
        settings,
        tuple(disturbances(before, after)),
    )
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "state": {"before": before.to_dict(), "after": after.to_dict()},
        **document_of(measured),
    }


def _ceilings(request: HeadlineRequest) -> tuple[list[Reached], list[Source], dict[str, str]]:
    """What every source reached by itself, and the best of each resource, to be measured again among the rounds."""
    if not request.ceilings:
        return [], [], {}
    remark("measuring ceilings ...")
    listed = list(sources(request.threads))
    reached, missing = measure(listed)
    best = {(found.resource, found.name): found.rate for found in reached}
    winners: dict[str, Source] = {}
    for source in sorted(listed, key=lambda source: best.get((source.resource, source.name), 0.0)):
        winners[source.resource] = source
    return reached, list(winners.values()), {f"ceiling of {name}": reason for name, reason in missing.items()}


def _rounds(
    request: HeadlineRequest,
    peers: Peers,
    runs: Sequence[FrameRun],
    frames: Sequence[NDArray[np.uint8]],
    winners: Sequence[Source],
) -> tuple[dict[str, dict[str, Timing]], MachineState, MachineState]:
    """The one interleaved run: stages by candidate, and the machine before and after."""
    candidates: dict[str, Callable[[], Mapping[str, float]]] = {}
    for peer in peers.ready:
        batch = network_input(peer.parser.metadata, frames[:1])
        candidates[NETWORK + peer.name] = _forward(peer, batch)
    with tempfile.TemporaryDirectory() as folder:
        for run in runs:
            candidates[FRAME + run.name] = _on_frames(run, frames, Path(folder) / "labels.png")
        for source in winners:
            candidates[_ceiling(source)] = _at_best(source.make())
        before = MachineState.now()
        stages = interleave_stages(
            candidates, request.rounds, request.warmup, REST, lambda done, total: remark(f"round {done} of {total}")
        )
    return stages, before, MachineState.now()


def _forward(peer: Peer, batch: NDArray[Any]) -> Callable[[], Mapping[str, float]]:
    return lambda: {"network": timed(lambda: peer.network(batch))[0]}


def _at_best(run: Callable[[], object]) -> Callable[[], Mapping[str, float]]:
    return lambda: {"best": best_of(run, CALLS)}


def _on_frames(run: FrameRun, frames: Sequence[NDArray[np.uint8]], png: Path) -> Callable[[], Mapping[str, float]]:
    """Called once a round, so that all candidates parse the same frame in the same round."""
    turn = iter(range(10**9))
    return lambda: run.stages(frames[next(turn) % len(frames)], png)


def _ceiling(source: Source) -> str:
    return f"ceiling, {source.resource}: {source.name}"


def main() -> None:
    """Command line of this benchmark."""
    options = _options()
    try:
        if options.render:
            document = json.loads(options.render.read_text())
            out = options.render.parent
        else:
            document, out = measure_headline(_request(options)), options.out
        for path in write_report(document, out):
            print(path)
    except CE2PError as error:
        sys.exit(f"error: {error}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path, help="pictures for the gate: a data set or a folder")
    parser.add_argument("--calib", type=Path, help="pictures to calibrate on; default: the training split of --data")
    parser.add_argument("--files", type=Path, nargs="+", default=[], help="ours; default: made by ce2p export")
    parser.add_argument("--exports", nargs="+", choices=OURS, default=list(OURS), help="ours, without --files")
    parser.add_argument("--imgsz", help="473 or 512x384; default: that of the files, else the checkpoint's")
    parser.add_argument("--dataset", help="for checkpoints that do not tell")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--pictures", type=int, default=GATE_PICTURES, help="for the gate")
    parser.add_argument("--compile-seconds", type=int, default=COMPILE_SECONDS, help="for torch.compile; 0: not at all")
    parser.add_argument("--no-ceilings", action="store_true")
    parser.add_argument("--work", type=Path, help="folder that keeps the files made; default: thrown away")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/headline"))
    parser.add_argument("--render", type=Path, metavar="JSON", help="only write the table and the plots of a result")
    options = parser.parse_args()
    if not options.render and not (options.checkpoint and options.data):
        parser.error("--checkpoint and --data are needed, or --render")
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: expected at least 1")
    return options


def _request(options: argparse.Namespace) -> HeadlineRequest:
    return HeadlineRequest(
        options.checkpoint,
        options.data,
        options.calib,
        tuple(options.files),
        tuple(options.exports),
        image_size(options.imgsz) if options.imgsz else None,
        options.dataset,
        options.rounds,
        threads=options.threads,
        pictures=options.pictures,
        compile_seconds=options.compile_seconds,
        ceilings=not options.no_ceilings,
        work=options.work,
    )


if __name__ == "__main__":
    main()
