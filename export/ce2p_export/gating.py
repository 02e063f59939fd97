"""The gate inside an export: candidates against the trained network, on every backend that may serve the file.

The reference is the network as trained, in PyTorch, float32. A half-precision file is judged once more with every
rounding put in (`precision.with_roundings`), because CPU backends leave them out: that stands for the GPU.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from ce2p.preprocessing import preprocessing_for
from ce2p_runtime import HumanParser
from ce2p_runtime.backends import BACKENDS, open_backend
from ce2p_runtime.errors import CE2PRuntimeError
from ce2p_runtime.gate import GateError, GatePicture, GateReport, Reference, Thresholds, judge
from ce2p_runtime.model_files.metadata import METADATA_KEY, ModelMetadata

from .metadata import build_metadata
from .onnx_graph import GraphOptions
from .precision import with_roundings
from .sensitivity import HOPELESS, Trial
from .source import Source
from .torch_backend import TorchBackend

__all__ = ["ROUNDED", "ExportGate", "GateOutcome", "GateSettings", "in_words", "trial_of"]

ROUNDED = "rounded"
"""Key of the judgement that stands for a GPU's half precision, among those of the backends."""
_IN_WORDS = {ROUNDED: "every rounding put in"}

SMALLEST_ALLOWANCE = 1e-6
"""A limit of exactly 1 allows nothing, and shares of nothing cannot be compared."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class GateSettings:
    """What an export is judged by."""

    pictures: Sequence[GatePicture]
    note: str
    """Which pictures these are, in words."""
    thresholds: Thresholds
    backends: tuple[str, ...] = ()
    """Backends to judge on; empty: every one that is installed for ONNX files. Named ones must pass, of the others
    those that do not are no longer chosen for the file."""
    judged: bool = True
    """False for untrained networks: the figures are kept, and nothing fails by them."""
    worst_picture: Path | None = None
    """Where the worst picture of a file that is judged is painted; None: nowhere."""


@dataclass(frozen=True)
class GateOutcome:
    """What the gate found for one file."""

    reports: Mapping[str, GateReport]
    """By backend, or ROUNDED."""
    refused: Mapping[str, str]
    """Backends that do not run the file, with the reason."""
    required: frozenset[str] = frozenset()
    """Those that must pass."""

    @property
    def passed_on(self) -> tuple[str, ...]:
        return tuple(name for name, report in self.reports.items() if report.passed and name != ROUNDED)

    @property
    def passed(self) -> bool:
        """Whether what must pass does, and somebody can serve the file."""
        needed = self.required | ({ROUNDED} & set(self.reports))
        served = bool(self.passed_on) or (ROUNDED in self.reports and not set(self.reports) - {ROUNDED})
        return served and all(name in self.reports and self.reports[name].passed for name in needed)

    @property
    def decisive(self) -> GateReport | None:
        """The report that a failure is explained with: of what must pass the worst, else the best there is."""
        needed = [self.reports[name] for name in self.required | {ROUNDED} if name in self.reports]
        failing = [report for report in needed if not report.passed]
        if failing:
            return max(failing, key=lambda report: trial_of(report).harm)
        return min(self.reports.values(), key=lambda report: trial_of(report).harm, default=None)

    def to_dict(self) -> dict[str, Any]:
        """For the metadata: the verdicts and figures, without the single pictures."""
        kept = ("passed", "failures", "pixel_agreement", "boundary_agreement", "mean_iou", "truth_miou", "worst")
        figures = {name: report.to_dict() for name, report in self.reports.items()}
        return {
            "passed_on": list(self.passed_on),
            "figures": {name: {key: figure[key] for key in kept} for name, figure in figures.items()},
            "refused": dict(self.refused),
        }


def in_words(place: str) -> str:
    """What people are shown for a key of `GateOutcome.reports`: a backend's name, or what ROUNDED means."""
    return _IN_WORDS.get(place, place)


def trial_of(report: GateReport) -> Trial:
    """A report as a trial of the search. What has no figure, as labels that are no class, is HOPELESS."""
    harms = [0.0]
    for check in report.checks:
        if check.figure is None:
            continue
        loss, allowed = (1 - check.figure, 1 - check.limit) if check.at_least else (check.figure, check.limit)
        harms.append(loss / max(allowed, SMALLEST_ALLOWANCE) if loss == loss else HOPELESS)
    harm = max(harms) if report.passed or max(harms) > 1 else HOPELESS
    figures = {
        "pixel_agreement": report.pixel_agreement,
        "boundary_agreement": report.boundary_agreement,
        "mean_iou": report.mean_iou,
    }
    return Trial(harm, report.passed, figures)


@dataclass
class ExportGate:
    """The reference's labels of one network, and candidates judged against them."""

    settings: GateSettings
    reference: Reference

    @classmethod
    def of(cls, source: Source, options: GraphOptions, settings: GateSettings, progress: Progress | None) -> ExportGate:
        """Parse every picture with the trained network. Raises what `Reference.of` does."""
        backend = TorchBackend(
            source.net, source.labels, options.size, "cpu", source.weights, untrained=source.untrained
        )
        parser = HumanParser.on(backend, name=source.stem)
        files = build_metadata(source, preprocessing_for(source.net.config.family), options, (), {})
        return cls(settings, Reference.of(parser, settings.pictures, progress=progress, candidate=files))

    @property
    def fingerprint(self) -> str:
        """Hash of pictures and reference labels."""
        digest = hashlib.sha256()
        for made in self.reference.pictures:
            digest.update(made.picture.image.tobytes() + made.labels.tobytes())
            digest.update(b"" if made.picture.truth is None else made.picture.truth.tobytes())
        return digest.hexdigest()

    def judge(
        self, file: Path, *, half: bool, only: str | None = None, progress: Progress | None = None
    ) -> GateOutcome:
        """Judge `file`, which must carry its metadata; `half`: also with every rounding put in.

        `only`: a backend, or ROUNDED, instead of all. Raises GateError where nothing runs the file.
        """
        named = self.settings.backends
        installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
        places = [*([ROUNDED] if half else []), *(named or installed)]
        reports: dict[str, GateReport] = {}
        refused: dict[str, str] = {}
        for place in places if only is None else [only]:
            try:
                reports[place] = self._on(place, file, progress)
            except CE2PRuntimeError as error:
                if place in named or place == ROUNDED:
                    raise
                refused[place] = str(error).removeprefix(f"{file}: ")  # its name is a temporary one
        if not reports:
            raise GateError(f"{file.name}: no backend runs it: {'; '.join(refused.values()) or 'none is installed'}")
        return GateOutcome(reports, refused, frozenset(named))

    def _on(self, place: str, file: Path, progress: Progress | None) -> GateReport:
        if place != ROUNDED:
            with HumanParser.on(open_backend(file, place, "cpu", keep=False), name=file.name) as parser:
                return judge(self.reference, parser, self.settings.thresholds, progress)
        with tempfile.TemporaryDirectory() as folder:
            rounded = Path(folder, file.name)
            onnx.save(_rounded(file), str(rounded))
            with HumanParser.on(
                open_backend(rounded, "onnxruntime", "cpu"), name=f"{file.name}, {in_words(ROUNDED)}"
            ) as parser:
                return judge(self.reference, parser, self.settings.thresholds, progress)


def _rounded(file: Path) -> onnx.ModelProto:
    """`with_roundings`, which is a float32 model of float32 inputs and outputs, under metadata that say so."""
    model = with_roundings(file)
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    metadata = ModelMetadata.from_json(entry.value, str(file))
    inside = "fp32" if metadata.precision in ("fp16", "bf16") else metadata.precision
    entry.value = replace(metadata, precision=inside, io="float32", digest="").to_json()
    return model
