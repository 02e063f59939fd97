"""The files that ONNX Runtime and TensorRT run, made where one of them is there for a GPU.

    python -m benchmarks.gpu.exports --files FOLDER [--model schp:lip-r101-os16:473] [--batches 1,4,16,64] [--anyway 1]

Needs no GPU with `--anyway 1`: files made beforehand are taken as they are by a later run.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.networks_on_disk import MODEL, NetworkFiles, prepare
from benchmarks.gpu.parts import Part, SkippedError, first_line, part_main, working_folder
from benchmarks.gpu.runtimes import gpu_runtimes
from benchmarks.rival_files import export_by_command
from ce2p_export import GraphOptions, export_onnx, export_plain, open_model


@dataclass(frozen=True)
class Files:
    """The exported files of one network."""

    naive: Path
    fp32: Path
    fp16: Path
    engines: dict[str, Path]
    """Name -> TensorRT engine."""
    missing: dict[str, str]
    """Name -> why there is none."""


def our_files(files: NetworkFiles, batch: int | None) -> dict[str, Path]:
    """Precision -> our ONNX file, with random weights; one that is there already is taken as it is.

    `batch`: None for one file that takes any.
    """
    ours = {precision: file_of(files, batch, precision) for precision in ("fp32", "fp16")}
    for precision, path in ours.items():
        if not path.exists():
            source = open_model(files.name, family=files.family, random=True)
            export_onnx(source, GraphOptions(files.size, batch, precision=precision), path)  # type: ignore[arg-type]
    return ours


def file_of(files: NetworkFiles, batch: int | None, kind: str) -> Path:
    """Where a file of its kind lies."""
    height, width = files.size
    return files.folder / f"{files.family}-{files.name}-{height}x{width}-b{batch or 'any'}-{kind}.onnx"


def export_files(files: NetworkFiles, batch: int) -> Files:
    """Naive export, our two files and, where TensorRT is, their engines and an INT8 one, all for one batch size.

    What is there already is taken as it is.
    """
    naive = file_of(files, batch, "naive")
    if not naive.exists():
        export_plain(files.net("trained"), naive, files.size, batch)
    # One file for all larger batches: the proof of an export runs its batch on the CPU.
    ours = our_files(files, 1 if batch == 1 else None)
    try:
        importlib.import_module("tensorrt")
    except ImportError as error:  # not there, or its libraries are not
        missing = {"ours TensorRT": f"no TensorRT ({first_line(error)})"}
        return Files(naive, ours["fp32"], ours["fp16"], {}, missing)
    from ce2p_export.tensorrt import BuildSettings, build_engine_file

    engines: dict[str, Path] = {}
    missing = {}
    makers: dict[str, tuple[Callable[[], Path], bool]] = {
        f"{precision}{'' if plugins else ', no plugins'}": (lambda file=file: file, plugins)  # type: ignore[misc]
        for precision, file in our_files(files, batch).items()
        for plugins in (True, False)
    }
    makers["int8"] = (lambda: int8_file(files, batch), True)
    for title, (make, plugins) in makers.items():
        try:
            file = make()
            target = files.folder / f"{file.stem}{'' if plugins else '_plain'}.engine"
            if not target.exists():
                build_engine_file(file, BuildSettings(plugins=plugins), target)
            engines[title] = target
        except Exception as error:  # no TensorRT, no GPU that it knows, an export that the gate refuses
            missing[f"ours TensorRT {title}"] = first_line(error)
    return Files(naive, ours["fp32"], ours["fp16"], engines, missing)


def int8_file(files: NetworkFiles, batch: int) -> Path:
    """Our INT8 file with the quantisers where TensorRT wants them, calibrated on synthetic people; not gated."""
    path, size = file_of(files, batch, "int8"), "{}x{}".format(*files.size)
    options = f"--random --family {files.family} --precision int8 --target tensorrt --gate off --imgsz {size}"
    arguments = [files.name, *options.split(), "--batch", str(batch), "--calib-count", "4"]
    return path if path.exists() else export_by_command(arguments, path)


def work(part: Part, options: argparse.Namespace) -> None:
    """Every batch in turn; each file is a row once it is there."""
    here, lacking = gpu_runtimes()
    if not here and not options.anyway:
        raise SkippedError(f"nothing here runs exported files on a GPU: {lacking}")
    with working_folder(options.files) as folder:
        source = prepare(folder, options.model)
        for batch in (int(batch) for batch in options.batches.split(",")):
            files = export_files(source, batch)
            made = (files.naive, files.fp32, files.fp16, *files.engines.values())
            part.rows += [{"file": path.name, "batch": batch} for path in made]
            part.rows += [{"file": title, "batch": batch, "note": why} for title, why in files.missing.items()]
            part.save()


if __name__ == "__main__":
    part_main("Exports", work, model=MODEL, batches="1,4,16,64", files="", anyway=0)
