"""`ce2p export`: resolve the model, calibrate, export, show folds, proof, gate and what had to be kept."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ce2p.preprocessing import preprocessing_for
from ce2p_export import (
    Exported,
    GateSettings,
    GraphOptions,
    Quantisation,
    Source,
    default_path,
    export_onnx,
    open_source,
)
from ce2p_export.exporter import check_size
from ce2p_export.metadata import build_metadata
from ce2p_export.precision import Method, Precision, Target
from ce2p_runtime import ModelFileError, ModelMetadata
from ce2p_runtime.destinations import check_destination
from ce2p_runtime.files import file_sha256
from ce2p_runtime.frame_steps import network_input
from ce2p_runtime.gate import thresholds_for
from ce2p_runtime.media.own_mark import bears_mark

from .arguments import gate_thresholds
from .console import progress_bar, remark, write_json
from .export_report import report
from .gate_pictures import choose_pictures
from .preflight import check_json, check_pictures, check_precision, check_proof, exported_metadata

__all__ = ["ExportRequest", "export_file", "full_batches", "run"]


@dataclass(frozen=True)
class ExportRequest:
    """The command's options."""

    model: str
    size: tuple[int, int] | None
    batch: int | None
    input_kind: str
    output_kind: str
    edge: bool
    fold: bool
    output: Path | None
    dataset: str | None
    stride: int | None
    family: str | None
    random: bool
    seed: int
    json: str | None
    precision: str
    io: str = "float32"
    target: str = "cpu"
    calibration: Path | None = None
    calibration_count: int = 32
    calibration_method: str = "mse"
    data: Path | None = None
    gate: tuple[str, ...] = ()
    """ "off", or limits as "pixel_agreement=0.995"."""
    gate_count: int = 16
    backends: tuple[str, ...] = ()
    search: bool = True
    thin: bool = True
    overwrite: bool = False
    remake: bool = False
    """Replace an earlier export of the same model: an engine's ONNX file is made anew each time."""


def run(request: ExportRequest) -> None:
    """Export and report. Raises CE2PError."""
    exported = export_file(request)
    if request.json:
        write_json({"path": str(exported.path), **dataclasses.asdict(exported.metadata)}, request.json, "export")
    if request.json != "-":
        report(exported)


def export_file(request: ExportRequest) -> Exported:
    """Export, with remarks on the way; mistakes are found first. Raises CE2PError."""
    _check(request)
    source = open_source(
        request.model, family=request.family, dataset=request.dataset,
        output_stride=request.stride, random=request.random, seed=request.seed,
    )  # fmt: skip
    options = GraphOptions(
        request.size or source.input_size,
        request.batch,
        cast(Literal["float", "uint8"], request.input_kind),
        cast(Literal["logits", "labels"], request.output_kind),
        request.edge,
        cast(Precision, request.precision),
        cast(Literal["float32", "float16"], request.io),
    )
    path = _checked_path(request, request.output or default_path(source, options))
    remark(
        f"{request.model}: {source.net.config.name}, {len(source.labels.names)} classes ({source.labels.title}), "
        f"{source.weights}"
    )
    for note in source.notes:
        remark(f"note: {note}")
    metadata = build_metadata(source, preprocessing_for(source.net.config.family), options, (), {})
    gate = _gate(request, source, metadata, path)
    quantisation = _quantisation(request, metadata) if request.precision == "int8" else None
    with _steps() as progress:
        return export_onnx(
            source, options, path, fold=request.fold, gate=gate, quantisation=quantisation,
            may_search=request.search, progress=progress,
        )  # fmt: skip


def _check(request: ExportRequest) -> None:
    """Raise what would otherwise be raised minutes later: about backends, pictures, and what is written where."""
    if request.size is not None:
        check_size(request.size)
    check_precision(request.backends, request.precision, f"--precision {request.precision}")
    for pictures in (request.calibration, request.data):
        check_pictures(pictures)
    check_proof()
    check_json(request.json, [request.model], request.overwrite)
    if request.output is not None:
        _checked_path(request, request.output)


def _checked_path(request: ExportRequest, path: Path) -> Path:
    """`path`, once it is known that the file and, beside it, its worst picture may be written."""
    inputs, overwrite = [request.model], request.overwrite or (request.remake and _is_of_the_same(path, request))
    check_destination(path, what="the exported file", suffixes=(".onnx",), inputs=inputs, overwrite=overwrite)
    if worst := _worst_picture(request, path):
        # One that an earlier export painted is of no more use.
        ours = worst.is_file() and bears_mark(worst)
        check_destination(worst, what="its worst picture", inputs=inputs, overwrite=request.overwrite or ours)
    return path


def _is_of_the_same(path: Path, request: ExportRequest) -> bool:
    """Whether a file is an earlier export of the model that is asked for, so that making it again loses nothing."""
    try:
        metadata = exported_metadata(path)
    except ModelFileError:
        return False
    if request.random:
        return metadata.untrained
    return metadata.extra.get("parent_sha256") == file_sha256(Path(request.model))


def _worst_picture(request: ExportRequest, path: Path) -> Path | None:
    """Where the picture with the most differences is painted; float32 files have none worth it."""
    wanted = request.precision != "fp32" and "off" not in request.gate
    return path.with_name(f"{path.stem}_worst.png") if wanted else None


def _gate(request: ExportRequest, source: Source, metadata: ModelMetadata, path: Path) -> GateSettings | None:
    """What the file is judged by; None where the user switched the gate off, which is said."""
    limits = gate_thresholds(request.gate, thresholds_for(request.precision))
    if limits is None:
        remark("note: --gate off: nobody compares the labels of this file with those of the trained network")
        return None
    pictures, note = choose_pictures(
        request.data or request.calibration, metadata, request.gate_count, shared=_shares_pictures(request)
    )
    judged = not source.untrained
    if not judged:
        remark("note: these weights are untrained: the gate's figures are kept, but mean nothing and decide nothing")
    remark(f"gate: on {note}")
    return GateSettings(pictures, note, limits, request.backends, judged, _worst_picture(request, path))


def _quantisation(request: ExportRequest, metadata: ModelMetadata) -> Quantisation:
    """The calibration pictures as the network takes them."""
    source = request.calibration or request.data
    pictures, note = choose_pictures(
        source, metadata, request.calibration_count, "calibration", shared=_shares_pictures(request)
    )
    remark(f"calibration: {request.calibration_method}, on {note}")
    images = [picture.image for picture in pictures]
    inputs = [
        network_input(metadata, [images[index] for index in batch]).astype(_input_type(metadata), copy=False)
        for batch in full_batches(len(images), request.batch or 1)
    ]
    method, target = cast(Method, request.calibration_method), cast(Target, request.target)
    if request.thin and source is None and target == "cpu":
        remark("note: drawn people do not tell what photographs need, so nothing is thinned; give --calib a folder")
    return Quantisation(inputs, note, method, target, may_thin=request.thin and source is not None)


def full_batches(pictures: int, size: int) -> list[list[int]]:
    """Which pictures go into batches of `size`. The last batch is filled up, since empty places would calibrate, too.

    Pictures come again at places of the same parity: whoever keeps every other picture to test on never saw it.
    """
    period = pictures - pictures % 2 or 1
    places = math.ceil(pictures / size) * size
    order = [place if place < pictures else place % period for place in range(places)]
    return [order[start : start + size] for start in range(0, places, size)]


def _shares_pictures(request: ExportRequest) -> bool:
    """Whether one source serves calibration and gate."""
    alone = request.calibration is None or request.data is None or request.calibration == request.data
    return request.precision == "int8" and alone


def _input_type(metadata: ModelMetadata) -> str:
    """Calibration runs the float32 graph, whatever the file's own inputs will be."""
    return "uint8" if metadata.input_kind == "uint8" else "float32"


@contextmanager
def _steps() -> Iterator[Callable[[str, int, int], None]]:
    """A line for every step, and a bar for those that have parts."""
    with progress_bar("done") as bars:
        tasks: dict[str, Any] = {}
        said = ""

        def tell(step: str, done: int, total: int) -> None:
            nonlocal said
            if step != said and (total == 0 or step not in tasks):
                remark(f"{step} ...")
                said = step
            if total == 0:
                return
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total, note="")
            bars.update(tasks[step], completed=done, total=total)
            if done >= total:
                bars.remove_task(tasks.pop(step))

        yield tell
