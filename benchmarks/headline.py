"""The headline figures: every rival, whole frames and the machine's ceilings, in one interleaved run, with the gate.

    python -m benchmarks.headline --checkpoint C.safetensors --data DIR [--calib DIR] [--files fp32.onnx int8.onnx ...]
        [--imgsz 473] [--rounds 15] [--out benchmarks/results/headline]
    python -m benchmarks.headline --render benchmarks/results/headline/headline.json

Files are made first (the naive export, ONNX Runtime's own static INT8 of it, ours by `ce2p export` unless --files
names them), all calibrated on the same pictures. Then everybody is compared with PyTorch: float32 logits must agree
or they are not timed, and the gate judges everybody's labels on the pictures of --data. Only then the clock starts.
Writes headline.json (a result as that of `ce2p benchmark`, with every sample), headline.md, headline.png and .svg, and
the roofline beside them. `ce2p benchmark NEW.json --compare OLD.json` compares two of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ceiling_sources import sources
from benchmarks.ceilings import PeakSource, Reached, best_of, best_sources, ceilings_of, measure
from benchmarks.headline_frames import FrameRun, check_baselines, frame_runs
from benchmarks.headline_report import write_report
from benchmarks.rival_files import OURS, Workshop, calibration_pictures
from benchmarks.rivals import COMPILE_SECONDS, EAGER, NAIVE, Contender, Contenders, check_exact, our_contenders, rivals
from benchmarks.workload import workload_of_file
from ce2p.api.notes import LOGGER, note
from ce2p.api.pictures import GATE_PICTURES, choose_pictures
from ce2p.benchmarking.accuracy import Accuracy, judge_all
from ce2p.benchmarking.document import Judgement, Result, Row, Scope, read_result
from ce2p.benchmarking.frames import SYNTHETIC, synthetic_footage
from ce2p.benchmarking.machine_state import MachineState
from ce2p.benchmarking.rounds import Measured, stage_times
from ce2p.checkpoints import LoadedCheckpoint, load_checkpoint
from ce2p.errors import CE2PError, ConfigError
from ce2p_export.torch_backend import TorchBackend
from ce2p_runtime.frame_steps import network_input
from ce2p_runtime.model_files.onnx_file import exported_metadata

CALLS = 3
"""Of a ceiling's source in each round: its best counts."""
Timed = Callable[[], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class HeadlineRequest:
    """The command's options."""

    checkpoint: Path
    data: Path
    """Pictures for the gate, a data set with truth or a folder."""
    calib: Path | None = None
    """Pictures to calibrate on; None: the training split of `data`."""
    files: Sequence[Path] = ()
    """Ours; empty: made by `ce2p export` as `exports` say."""
    exports: Sequence[str] = tuple(OURS)
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


def measure_headline(request: HeadlineRequest) -> Result:
    """Everything: a row for each network alone, and one for each way to parse whole frames.

    Raises CE2PError for what cannot be read.
    """
    started = MachineState.now()
    loaded = load_checkpoint(request.checkpoint, dataset=request.dataset)
    with ExitStack() as stack:
        folder = request.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        contenders = _open(request, loaded, folder)
        for one in contenders.ready.values():
            stack.callback(one.parser.close)
        for name, reason in contenders.missing.items():
            note(f"not measured: {name}: {reason}")
        if not {EAGER, NAIVE} <= contenders.ready.keys():
            raise ConfigError(f"{EAGER} and {NAIVE} are what all is compared with, and one of them cannot run here")
        return _measure(request, loaded, contenders, started)


def _open(request: HeadlineRequest, loaded: LoadedCheckpoint, folder: Path) -> Contenders:
    """Everybody who can run here, loaded."""
    metadata = TorchBackend.of(loaded, _input_size(request, loaded)).metadata
    shop = Workshop(loaded, metadata, folder, request.data, request.dataset)
    calibration = calibration_pictures(request.calib or request.data, folder)
    contenders = Contenders()
    for name, make in rivals(shop, calibration, request.threads, request.compile_seconds):
        note(f"preparing {name} ...")
        contenders.add(name, make)
    files = list(request.files)
    for which in () if files else request.exports:
        note(f"exporting ours in {which} ...")
        try:
            files.append(shop.ours(which, calibration))
        except RuntimeError as error:
            contenders.missing[f"ours {which}"] = str(error)
    for name, make in our_contenders(files, request.threads):
        note(f"preparing {name} ...")
        contenders.add(name, make)
    return contenders


def _input_size(request: HeadlineRequest, loaded: LoadedCheckpoint) -> tuple[int, int]:
    """That of all networks. Raises ConfigError for a file with another one, ModelFileError for one that is not ours."""
    sizes = {file: exported_metadata(file).input_size for file in request.files}
    size = request.size or next(iter(sizes.values()), loaded.input_size)
    for file, own in sizes.items():
        if own != size:
            raise ConfigError(
                f"{file}: its input is {own[0]}x{own[1]}, that of the others {size[0]}x{size[1]}; export it again"
            )
    return size


def _measure(
    request: HeadlineRequest, loaded: LoadedCheckpoint, contenders: Contenders, started: MachineState
) -> Result:
    eager = contenders.ready[EAGER].parser
    name = request.data.name  # results are passed on, so they hold no paths
    pictures, described = choose_pictures(request.data, eager.metadata, request.pictures, called=name)
    distances = check_exact(contenders, pictures[0].image)
    parsers = {name: one.parser for name, one in contenders.ready.items()}
    accuracy = judge_all(parsers, eager, pictures, described, _judging)
    footage = synthetic_footage(request.frame)
    frames = footage.first(SYNTHETIC)
    runs = frame_runs(contenders)
    agreement = check_baselines(runs, contenders, frames)
    reached, best, not_reached = _ceilings(request)
    with tempfile.TemporaryDirectory() as folder:
        in_turn = dict(_timed(contenders, runs, best, frames, Path(folder) / "labels.png"))
        measured = stage_times(in_turn, request.rounds, request.warmup, lambda done, of: note(f"round {done} of {of}"))
    for source in best:
        fastest = min(measured.stages[_ceiling(source)]["best"].samples)
        reached.append(Reached(source.resource, source.name, source.amount / fastest * 1e3))
    rows = [
        *_network_rows(contenders, measured, accuracy, distances),
        *_frame_rows(runs, measured, accuracy, agreement),
    ]
    settings = {
        "checkpoint": request.checkpoint.name,
        "sha256": loaded.sha256,
        "network": loaded.config.name,
        "weights": loaded.weights,
        "input_size": list(eager.metadata.input_size),
        "frame": list(request.frame),
        "footage": footage.description,
        "rounds": request.rounds,
        "warmup": request.warmup,
        "device": "cpu",
        "threads": request.threads or "default",
        "gate": dict(accuracy.settings),
    }
    ceilings = {
        "ceilings": dataclasses.asdict(ceilings_of(reached)),
        "reached": [dataclasses.asdict(found) for found in reached],
    }
    skipped = {**contenders.missing, **not_reached}
    return measured.result(rows, settings=settings, skipped=skipped, started=started, facts=ceilings)


def _network_rows(
    contenders: Contenders, measured: Measured, accuracy: Accuracy, distances: Mapping[str, float | None]
) -> Iterator[Row]:
    for one in sorted(contenders.ready.values(), key=lambda one: one.name != NAIVE):  # ratios are to the first
        workload = dataclasses.asdict(workload_of_file(one.file))
        facts = {"kind": one.kind, "floats": one.floats, "workload": workload, "relative_l2": distances[one.name]}
        yield _row(one, one.name, "network", measured, judgement=accuracy.judgements[one.name], facts=facts)


def _frame_rows(
    runs: Sequence[FrameRun], measured: Measured, accuracy: Accuracy, agreement: Mapping[str, float]
) -> Iterator[Row]:
    for run in runs:
        facts = {"network": run.contender.name, "agreement_with_pytorch": agreement[run.name]}
        judgement = Judgement(accuracy.judgements[run.contender.name].standing)  # figures: in the network's row
        yield _row(run.contender, run.name, "frame", measured, judgement=judgement, facts=facts)


def _row(
    one: Contender, name: str, scope: Scope, measured: Measured, *, judgement: Judgement, facts: Mapping[str, Any]
) -> Row:
    of_it = {"scope": scope, "stages": measured.stages[f"{scope}: {name}"], "judgement": judgement}
    facts = {"ours": one.ours, **facts}
    return Row.of(one.parser, one.file, name=name, model=name, file=one.file.name, facts=facts, **of_it)


def _judging(name: str, done: int, total: int) -> None:
    if done == 1:
        note(f"judging {name} on {total} pictures ...")


def _ceilings(request: HeadlineRequest) -> tuple[list[Reached], list[PeakSource], dict[str, str]]:
    """What every source reached by itself, and the best of each resource, to be measured again among the rounds."""
    if not request.ceilings:
        return [], [], {}
    note("measuring ceilings ...")
    listed = list(sources(request.threads))
    reached, missing = measure(listed)
    return reached, best_sources(listed, reached), {f"ceiling of {name}": reason for name, reason in missing.items()}


def _timed(
    contenders: Contenders,
    runs: Sequence[FrameRun],
    best: Sequence[PeakSource],
    frames: Sequence[NDArray[np.uint8]],
    png: Path,
) -> Iterator[tuple[str, Timed]]:
    """Everything that takes its turn in the rounds, by scope and name."""
    for one in contenders.ready.values():
        yield f"network: {one.name}", partial(one.timed, network_input(one.parser.metadata, frames[:1]))
    for run in runs:
        yield f"frame: {run.name}", run.in_turn(frames, png)
    for source in best:
        product = source.make()
        yield _ceiling(source), lambda run=product: {"best": best_of(run, CALLS)}  # type: ignore[misc]


def _ceiling(source: PeakSource) -> str:
    return f"ceiling, {source.resource}: {source.name}"


def main() -> None:
    """Command line of this benchmark."""
    options = vars(_options())
    logging.basicConfig(format="%(message)s")
    logging.getLogger(LOGGER).setLevel(logging.INFO)
    out, saved = options.pop("out"), options.pop("render")
    try:
        result = read_result(saved) if saved else measure_headline(HeadlineRequest(**options))
        for path in write_report(result, saved.parent if saved else out):
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
    parser.add_argument(
        "--imgsz", type=_size, dest="size", help="473 or 512x384; default: that of the files, else the checkpoint's"
    )
    parser.add_argument("--dataset", help="for checkpoints that do not tell")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--pictures", type=int, default=GATE_PICTURES, help="for the gate")
    parser.add_argument("--compile-seconds", type=int, default=COMPILE_SECONDS, help="for torch.compile; 0: not at all")
    parser.add_argument("--no-ceilings", action="store_false", dest="ceilings")
    parser.add_argument("--work", type=Path, help="folder that keeps the files made; default: thrown away")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/headline"))
    parser.add_argument("--render", type=Path, metavar="JSON", help="only write the table and the plots of a result")
    options = parser.parse_args()
    if not options.render and not (options.checkpoint and options.data):
        parser.error("--checkpoint and --data are needed, or --render")
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: expected at least 1")
    return options


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and (width or height).isdigit()):
        raise argparse.ArgumentTypeError(f"{text}: expected one side or height and width in pixels, as 473 or 512x384")
    return int(height), int(width or height)


if __name__ == "__main__":
    main()
