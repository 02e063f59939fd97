"""From a network to an ONNX file that proved it is as good: `ce2p.export`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ce2p.errors import ConfigError
from ce2p_export import (
    Exported,
    GateSettings,
    GraphOptions,
    Quantisation,
    SourceModel,
    default_path,
    export_onnx,
    open_model,
)
from ce2p_export.source import build_metadata
from ce2p_export.steps import check_size
from ce2p_runtime import BackendError, ModelFileError, ModelMetadata
from ce2p_runtime.backends import BACKENDS
from ce2p_runtime.base.destinations import check_destination
from ce2p_runtime.base.files import file_sha256
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.base.text import install_hint
from ce2p_runtime.frame_steps import network_input
from ce2p_runtime.media.own_mark import bears_mark
from ce2p_runtime.model_files.metadata import InputKind, IoType, OutputKind
from ce2p_runtime.model_files.onnx_file import exported_metadata
from ce2p_runtime.precisions import CalibrationMethod, LabelLimits, PrecisionName, Target, precision_named

from .checks import check_pictures, check_precision
from .notes import note
from .pictures import choose_pictures

Gate = bool | Mapping[str, float] | LabelLimits
"""False: no gate. True: the limits for the precision. A mapping: others by name, as {"pixel_agreement": 0.995}."""


def export(
    model: str | Path | SourceModel,
    output: str | Path | None = None,
    *,
    precision: PrecisionName = "fp32",
    imgsz: int | tuple[int, int] | None = None,
    batch: int | None = 1,
    input_kind: InputKind = "float",
    output_kind: OutputKind = "logits",
    edge: bool = False,
    io: IoType = "float32",
    fold: bool = True,
    target: Target = "cpu",
    calib: str | Path | None = None,
    calib_count: int = 32,
    calib_method: CalibrationMethod = "mse",
    low_rank: bool = True,
    data: str | Path | None = None,
    gate: Gate = True,
    gate_count: int = 16,
    backends: Sequence[str] = (),
    search: bool = True,
    dataset: str | None = None,
    stride: int | None = None,
    family: str | None = None,
    random: bool = False,
    seed: int = 0,
    overwrite: bool | Literal["same model"] = False,
    progress: Progress = without_progress,
) -> Exported:
    """Write `model` as an ONNX file, prove that it computes the same, and let the gate judge its labels.

        made = ce2p.export("exp-schp-201908261155-lip.pth", precision="int8", calib="photos/")
        made.path, made.gate, made.proof, made.folds, made.kept

    Nothing stands under the file's name before proof and gate are passed. The same as `ce2p export`:

    - `model`: what `load` or `build` gave, a checkpoint file, or with `random` (and `family`, `seed`) a model's name.
      `dataset` and `stride` are for checkpoints that do not tell.
    - `output`: the file; None: beside the checkpoint, named after what is in it. A file that exists is refused unless
      `overwrite`; "same model" replaces an earlier export of this model only.
    - `imgsz`: input side or (height, width) in pixels; None: the family's own. `batch`: None for a dynamic one.
      `input_kind`: normalised float NCHW, or uint8 BGR pixels NHWC. `output_kind`: logits at 1/4 size, or labels at
      full size. `edge`: edge logits as a second output. `io`: type of float inputs and of logits.
    - `precision`: of weights and activations. For int8, `target` names whose kernels it is for, `calib` a folder of
      pictures or data set to calibrate on (None: `data`, or synthetic people), `calib_count` how many and
      `calib_method` how ranges are chosen; `low_rank` lets the context convolution be factorised where the gate
      finds no loss. `fold` applies the exact folds.
    - `gate` (see `Gate`) compares labels on `gate_count` pictures of `data` (None: `calib`, or synthetic people), on
      `backends` that must pass (none named: one of those installed). `search` keeps the fewest layers in higher
      precision that the gate asks for.
    - `progress` is called with each step. Remarks go to the logger "ce2p".

    Raises ConfigError and CheckpointError for what was asked or given, ProofError and GateError for a file that is not
    as good, MediaError for pictures and files that cannot be read or must not be written, BackendError.
    """
    calib, data, output = _path(calib), _path(data), _path(output)
    size = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    facts = precision_named(precision)
    limits = limits_of(gate, facts.labels)
    _check(size, precision, backends, calib, data)
    writing = _Destination(model, random, overwrite, has_worst=not facts.exact and limits is not None)
    if output is not None:
        writing.check(output)
    source = (
        model
        if isinstance(model, SourceModel)
        else open_model(str(model), family=family, dataset=dataset, output_stride=stride, random=random, seed=seed)
    )
    options = GraphOptions(
        size=size or source.input_size,
        batch=batch,
        input_kind=input_kind,
        output_kind=output_kind,
        edge=edge,
        precision=precision,
        io=io,
    )
    path = output or default_path(source, options)
    writing.check(path)
    _introduce(model, source)
    metadata = build_metadata(source, options)
    shared = facts.calibrated and (calib is None or data is None or calib == data)
    settings = None
    if limits is None:
        note("note: --gate off: nobody compares the labels of this file with those of the trained network")
    else:
        pictures, described = choose_pictures(data or calib, metadata, gate_count, shared=shared)
        if source.untrained:
            note("note: these weights are untrained: the gate's figures are kept, but mean nothing and decide nothing")
        note(f"gate: on {described}")
        settings = GateSettings(
            pictures,
            described,
            limits,
            backends=tuple(backends),
            judged=not source.untrained,
            worst_picture=writing.worst_picture(path),
        )
    quantisation = None
    if facts.calibrated:
        quantisation = _quantisation_on(
            calib or data,
            metadata,
            count=calib_count,
            batch=batch or 1,
            method=calib_method,
            target=target,
            low_rank=low_rank,
            shared=shared,
        )
    return export_onnx(
        source, options, path, fold=fold, gate=settings, quantisation=quantisation, may_search=search, progress=progress
    )


def _quantisation_on(
    pictures: Path | None,
    metadata: ModelMetadata,
    *,
    count: int,
    batch: int,
    method: CalibrationMethod,
    target: Target,
    low_rank: bool,
    shared: bool,
) -> Quantisation:
    """How activations get their 8 bits: ranges over `count` of `pictures` (None: synthetic people), in full batches.

    `shared`: the same pictures also serve the gate, which takes every other one. `low_rank`: the context convolution
    may be factorised; not on synthetic people. Raises what `choose_pictures` does.
    """
    chosen, described = choose_pictures(pictures, metadata, count, "calibration", shared=shared)
    note(f"calibration: {method}, on {described}")
    # Calibration runs the float32 graph, whatever the file's own inputs will be.
    kind = "uint8" if metadata.input_kind == "uint8" else "float32"
    inputs = [
        network_input(metadata, [chosen[index].image for index in batched]).astype(kind, copy=False)
        for batched in full_batches(len(chosen), batch)
    ]
    if low_rank and pictures is None and target == "cpu":
        note("note: synthetic people do not show what photographs need: nothing is factorised; give --calib a folder")
    return Quantisation(inputs, described, method, target, low_rank=low_rank and pictures is not None)


def full_batches(pictures: int, size: int) -> list[list[int]]:
    """Which pictures go into batches of `size`. The last batch is filled up with pictures: zeros would count as one.

    A picture with an even number comes again at an even position, an odd one at an odd position: low_rank.py fits to
    the even ones and tests on the odd ones, and must not meet one in both.
    """
    period = pictures - pictures % 2 or 1
    positions = range(math.ceil(pictures / size) * size)
    order = [position if position < pictures else position % period for position in positions]
    return [order[start : start + size] for start in range(0, len(order), size)]


def limits_of(gate: Gate, default: LabelLimits) -> LabelLimits | None:
    """The limits that a gate judges by; None for no gate. Raises ConfigError for unknown or impossible ones."""
    if isinstance(gate, LabelLimits):
        return gate
    if isinstance(gate, bool):
        return default if gate else None
    names = [field.name for field in dataclasses.fields(LabelLimits)]
    for name, limit in gate.items():
        if name not in names or not 0 <= limit <= 1:
            raise ConfigError(f"gate {name}={limit}: expected a limit from 0 to 1 for one of {', '.join(names)}")
    return dataclasses.replace(default, **gate)


def _check(
    size: tuple[int, int] | None, precision: str, backends: Sequence[str], calib: Path | None, data: Path | None
) -> None:
    """Raise what would otherwise be raised minutes later: about sizes, backends and pictures."""
    if size is not None:
        check_size(size)
    check_precision(backends, precision, f"--precision {precision}")
    for pictures in (calib, data):
        check_pictures(pictures)
    if not BACKENDS["onnxruntime"].installed:
        raise BackendError(f"exports are proved with ONNX Runtime, which is not installed; {install_hint('cpu')}")


def _introduce(model: str | Path | SourceModel, source: SourceModel) -> None:
    name = source.stem if isinstance(model, SourceModel) else model
    note(
        f"{name}: {source.net.config.name}, {len(source.labels.names)} classes ({source.labels.title}), "
        f"{source.weights}"
    )
    for text in source.notes:
        note(f"note: {text}")


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


@dataclass(frozen=True)
class _Destination:
    """Whether a file, and beside it its worst picture, may be written."""

    model: str | Path | SourceModel
    random: bool
    overwrite: bool | Literal["same model"]
    has_worst: bool
    """Float32 files have no picture worth painting, nor have those that nobody judges."""

    def check(self, path: Path) -> None:
        """Raise MediaError where they must not, or cannot, be written."""
        inputs = [] if isinstance(self.model, SourceModel) else [self.model]
        overwrite = self.overwrite is True or (self.overwrite == "same model" and self._is_of_the_same(path))
        check_destination(path, what="the exported file", suffixes=(".onnx",), inputs=inputs, overwrite=overwrite)
        if worst := self.worst_picture(path):
            # One that an earlier export painted is of no more use.
            ours = worst.is_file() and bears_mark(worst)
            check_destination(worst, what="its worst picture", inputs=inputs, overwrite=self.overwrite is True or ours)

    def worst_picture(self, path: Path) -> Path | None:
        """Where the picture with the most differences is painted."""
        return path.with_name(f"{path.stem}_worst.png") if self.has_worst else None

    def _is_of_the_same(self, path: Path) -> bool:
        """Whether a file is an earlier export of the model, so that making it again loses nothing."""
        try:
            metadata = exported_metadata(path)
        except ModelFileError:
            return False
        if isinstance(self.model, SourceModel):
            parent = self.model.parent_sha256
        else:
            parent = None if self.random else file_sha256(Path(self.model))
        return metadata.untrained if parent is None else metadata.extra.get("parent_sha256") == parent
