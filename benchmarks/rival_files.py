"""The files that rivals and ours run: somebody's naive export, ONNX Runtime's own static INT8 of it, and ours.

All of them are kept in a folder under names that say what they were made from, and made only once.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ce2p.checkpoints import LoadedCheckpoint
from ce2p.data.splits import has_split, open_split, recognise
from ce2p.errors import DataError
from ce2p_export import export_plain
from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.frame_steps import network_input
from ce2p_runtime.media.pictures import find_pictures, read_picture
from ce2p_runtime.model_files.metadata import ModelMetadata
from ce2p_runtime.process.telemetry import import_onnxruntime

CALIBRATION_PICTURES = 32
OURS: dict[str, tuple[str, ...]] = {
    "fp32": ("--precision", "fp32"),
    "bf16": ("--precision", "bf16"),
    "int8": ("--precision", "int8", "--no-low-rank"),
    "int8-low-rank": ("--precision", "int8"),
}
"""What we export -> options of `ce2p export`. The rank depends on the pictures, so int8 is measured without it, too."""
STATIC_INT8 = ("defaults", "best practice")
"""Settings of ONNX Runtime's `quantize_static`: as it comes (int8 activations, one scale per tensor), and what its
documentation advises for x86 with VNNI: pre-processed, QDQ, uint8 activations, int8 weights with a scale per channel.
Shapes are static, so pre-processing does without symbolic shape inference."""


@dataclass(frozen=True)
class Calibration:
    """Pictures that ours and the rivals' files are calibrated on alike."""

    folder: Path
    """Holds nothing else."""
    files: tuple[Path, ...]
    key: str
    """Changes with the pictures."""


def calibration_pictures(source: Path, work: Path, count: int = CALIBRATION_PICTURES) -> Calibration:
    """Copy at most `count` pictures, evenly spread over those of `source`, into a folder of their own in `work`.

    `source`: a folder or a pattern of pictures, or a data set, of which the training split counts. Raises MediaError or
    DataError where there is none.
    """
    found = _training_pictures(source) or find_pictures(source)
    if not found:
        raise DataError(f"{source}: no pictures to calibrate on; give --calib a folder with some")
    kept = min(count, len(found))
    chosen = [found[index * len(found) // kept] for index in range(kept)]
    digest = hashlib.sha256()
    for path in chosen:
        digest.update(path.read_bytes())
    key = digest.hexdigest()[:8]
    folder = work / f"calibration_{key}"
    folder.mkdir(parents=True, exist_ok=True)
    copies = tuple(folder / f"{index:04d}{path.suffix.lower()}" for index, path in enumerate(chosen))
    for path, copy in zip(chosen, copies, strict=True):
        if not copy.exists():
            with atomic_path(copy) as temporary:
                shutil.copyfile(path, temporary)
    return Calibration(folder, copies, key)


def _training_pictures(source: Path) -> list[Path]:
    layout = recognise(source) if source.is_dir() else None
    if layout is None or not has_split(layout, source, "train"):
        return []
    return sorted(sample.image for sample in open_split(layout, source, "train"))


@dataclass(frozen=True)
class Workshop:
    """Makes files of one checkpoint at one input size, in one folder."""

    loaded: LoadedCheckpoint
    metadata: ModelMetadata
    """Of the checkpoint at that input size."""
    folder: Path
    data: Path
    """Pictures that the gate of our own exports compares labels on."""
    dataset: str | None = None
    """For checkpoints that do not tell: `--dataset` of ce2p export."""

    def naive(self) -> Path:
        """`export_plain`: what the three-line script gives, for a batch of 1."""
        path = self._path("naive")
        if not path.exists():
            with atomic_path(path) as temporary:
                export_plain(self.loaded.net, temporary, self.metadata.input_size)
        return path

    def static_int8(self, setting: str, calibration: Calibration) -> Path:
        """ONNX Runtime's own static INT8 of the naive export; `setting` is one of STATIC_INT8."""
        import_onnxruntime()
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        path = self._path(f"naive_int8_{setting.replace(' ', '_')}", calibration.key)
        if path.exists():
            return path
        options: dict[str, Any] = {}
        source = self.naive()
        if setting == "best practice":
            source = self._path("naive_prepared")
            with atomic_path(source) as temporary:
                quant_pre_process(str(self.naive()), str(temporary), skip_symbolic_shape=True)
            options = {
                "quant_format": QuantFormat.QDQ,
                "activation_type": QuantType.QUInt8,
                "weight_type": QuantType.QInt8,
                "per_channel": True,
                "calibrate_method": CalibrationMethod.MinMax,
            }
        with atomic_path(path) as temporary:
            quantize_static(str(source), str(temporary), _Reader(calibration.files, self.metadata), **options)
        return path

    def ours(self, which: str, calibration: Calibration) -> Path:
        """`ce2p export` of one of OURS, anew every time. Raises RuntimeError with its own line where it fails."""
        int8 = which.startswith("int8")
        path = self._path(f"ours_{which}", calibration.key if int8 else "")
        path.unlink(missing_ok=True)
        height, width = self.metadata.input_size
        command = [str(self.loaded.path), *OURS[which], "--imgsz", f"{height}x{width}"]
        if self.dataset:
            command += ["--dataset", self.dataset]
        if int8:
            command += ["--calib", str(calibration.folder), "--calib-count", str(len(calibration.files))]
        if which != "fp32":
            command += ["--data", str(self.data)]
        return export_by_command(command, path)

    def _path(self, kind: str, key: str = "") -> Path:
        height, width = self.metadata.input_size
        made_from = self.loaded.sha256[:8] + (f"_{key}" if key else "")
        return self.folder / f"{kind}_{height}x{width}_{made_from}.onnx"


class _Reader:
    """A CalibrationDataReader: the pictures as the network's input, one at a time."""

    def __init__(self, files: Sequence[Path], metadata: ModelMetadata) -> None:
        self._inputs: Iterator[NDArray[Any]] = (network_input(metadata, [read_picture(file)]) for file in files)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._inputs, None)
        return None if batch is None else {"image": batch}


def export_by_command(arguments: Sequence[str], path: Path) -> Path:
    """`ce2p export ARGUMENTS -o path` in a process of its own. Raises RuntimeError with the line it ends with."""
    command = [sys.executable, "-m", "ce2p", "export", *arguments, "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not path.exists():
        lines = [line.strip(" │") for line in (done.stderr or done.stdout).splitlines() if line.strip(" │╭╮╰╯─")]
        reason = next((line for line in lines if "rror:" in line), lines[-1] if lines else "no output")
        raise RuntimeError(f"ce2p export failed: {reason.removeprefix('error: ')}")
    return path
