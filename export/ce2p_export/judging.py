"""The judge of one export: the network as trained, in PyTorch and float32, against the files made of it.

The logits are compared as numbers where the precision has limits for that, the labels on every backend that may serve
the file. A file of half precision is judged by both once more with every rounding put in, because CPU backends leave
them out: that copy, made once for each file, stands for the GPU.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from ce2p_runtime import HumanParser
from ce2p_runtime.backends import Backend, installed_backends, open_backend, precision_refusal
from ce2p_runtime.base.progress import Progress
from ce2p_runtime.errors import CE2PRuntimeError
from ce2p_runtime.judge import (
    GateError,
    GateOutcome,
    GatePicture,
    GateReport,
    LogitPicture,
    Proof,
    Reference,
    judge_labels,
    judge_logits,
)
from ce2p_runtime.model_files.metadata import METADATA_KEY, ModelMetadata
from ce2p_runtime.precisions import PRECISIONS, LabelLimits
from ce2p_runtime.process.telemetry import import_onnxruntime

from .onnx_graph import GraphOptions
from .precision.rounding import with_roundings
from .proof_pictures import expected_logits, open_session
from .search import Trial
from .source import SourceModel, build_metadata
from .torch_backend import TorchBackend

_GATE_FIGURES = ("pixel_agreement", "boundary_agreement", "mean_iou")


@dataclass(frozen=True)
class GateSettings:
    """What the labels of an export are judged by."""

    pictures: Sequence[GatePicture]
    note: str
    """Which pictures these are, in words."""
    limits: LabelLimits
    backends: tuple[str, ...] = ()
    """Backends to judge on; empty: every one that is installed for ONNX files. Named ones must pass, of the others
    those that do not are no longer chosen for the file."""
    judged: bool = True
    """False for untrained networks: the figures are kept, and nothing fails by them."""
    worst_picture: Path | None = None
    """Where the worst picture of a file that is judged is painted; None: nowhere."""


@dataclass(frozen=True)
class Verdict:
    """What the judge found about one file."""

    proof: Proof | None
    """None where the logits are not those of float32."""
    gate: GateOutcome | None
    """None where nobody judges labels."""
    judged: bool
    """Whether the gate's verdict counts: it does not for untrained networks."""

    @property
    def failure(self) -> str | None:
        """Why the file is not good enough, in one line, or None."""
        if self.proof is not None and not self.proof.passed:
            return self.proof.failure
        if self.gate is None or self.gate.passed or not self.judged:
            return None
        report = self.gate.decisive
        return "; ".join(self.gate.refused.values() if report is None else report.failures)

    @property
    def passed_on(self) -> tuple[str, ...]:
        """Backends that passed a gate whose verdict counts."""
        return self.gate.passed_on if self.gate is not None and self.judged else ()

    @property
    def trial(self) -> Trial:
        """As a step of a search, of all that was judged."""
        gates = [] if self.gate is None or not self.judged else list(self.gate.titled.values())
        figures = {name: getattr(gate, name) for gate in gates for name in _GATE_FIGURES}
        found: list[GateReport | Proof] = [*gates]
        if self.proof is not None:
            found.append(self.proof)
            figures["relative_l2"] = self.proof.max_relative_l2
        return Trial(max((one.used for one in found), default=0.0), all(one.passed for one in found), figures)

    @property
    def harm(self) -> float | None:
        """The largest share of the gate's allowance that is used up on a backend that passed; None where none did."""
        return max((self.gate.reports[name].used for name in self.passed_on), default=None) if self.gate else None

    def record(self, note: str) -> dict[str, Any]:
        """For the metadata. The labels of an untrained network cannot decide where its file may run."""
        found: dict[str, Any] = {} if self.proof is None else {"parity": self.proof.to_dict()}
        if self.gate is not None:
            found["gate" if self.judged else "gate_not_judged"] = {**self.gate.to_dict(), "compared_on": note}
        return found


@dataclass(frozen=True)
class ExportJudge:
    """What every file of one network is compared with: made once, never changed."""

    options: GraphOptions
    settings: GateSettings | None
    """None: nobody judges labels."""
    logits: tuple[LogitPicture, ...] = field(repr=False)
    """Empty where the logits are not those of float32."""
    labels: Reference | None = field(repr=False)

    @classmethod
    def of(
        cls, source: SourceModel, options: GraphOptions, settings: GateSettings | None, progress: Progress
    ) -> ExportJudge:
        """Run the trained network on every picture. Raises what `Reference.of` does."""
        logits = () if PRECISIONS[options.precision].logits is None else expected_logits(source.net, options)
        if settings is None:
            return cls(options, None, logits, None)
        parser = HumanParser.on(TorchBackend.of(source, options.size), name=source.stem)
        labels = Reference.of(
            parser,
            settings.pictures,
            progress=partial(progress, "reference labels"),
            candidate=build_metadata(source, options),
        )
        return cls(options, settings, logits, labels)

    @property
    def judged(self) -> bool:
        """Whether there is a gate whose verdict counts."""
        return self.settings is not None and self.settings.judged

    @property
    def key(self) -> list[Any]:
        """What decides about verdicts, as plain types: limits, pictures and reference labels."""
        found: list[Any] = [repr(PRECISIONS[self.options.precision].logits)]
        if self.labels is not None and self.settings is not None and self.judged:
            digest = hashlib.sha256()
            for made in self.labels.pictures:
                digest.update(made.picture.image.tobytes() + made.labels.tobytes())
                digest.update(b"" if made.picture.truth is None else made.picture.truth.tobytes())
            found += [digest.hexdigest(), repr(self.settings.limits)]
        return found

    def verdict(self, file: Path, *, half: bool, progress: Progress) -> Verdict:
        """Judge `file`, which must carry its metadata; `half`: also with every rounding put in.

        Nothing is raised for a bad outcome. Raises GateError where nothing runs the file, and what a backend raises
        that must pass.
        """
        named = () if self.settings is None else self.settings.backends
        with _rounded_copy(file, half) as rounded:
            if self.logits:
                progress("proving", 0, 0)
            proof = self._proof(file, rounded)
            gate = None if self.settings is None else self._gate(file, rounded, named or installed_backends(), progress)
            return Verdict(proof, gate, self.judged)

    def trial(self, file: Path, *, half: bool, backend: str | None) -> Trial:
        """The same for a search: labels are judged on one backend, or (None) with every rounding put in alone."""
        backends = () if backend is None else (backend,)
        with _rounded_copy(file, half) as rounded:
            gate = self._gate(file, rounded, backends, lambda step, done, total: None) if self.judged else None
            return Verdict(self._proof(file, rounded), gate, self.judged).trial

    def paint_worst(self, verdict: Verdict) -> None:
        """Paint the picture with the most differences, where that is wanted."""
        if self.settings is not None and self.settings.worst_picture is not None and verdict.gate is not None:
            decisive = verdict.gate.decisive
            if decisive is not None:
                decisive.paint_worst(self.settings.worst_picture)

    def _proof(self, file: Path, rounded: Path | None) -> Proof | None:
        limits = PRECISIONS[self.options.precision].logits
        if limits is None:
            return None
        runs = {}
        if precision_refusal("onnxruntime", self.options.precision) is None:
            runs[""] = open_session(file)
        if rounded is not None:
            runs["rounded"] = open_session(rounded)
        runtime = f"onnxruntime {import_onnxruntime().__version__}, CPU"
        return judge_logits(self.logits, runs, limits, batch=self.options.batch, runtime=runtime)

    def _gate(self, file: Path, rounded: Path | None, backends: Sequence[str], progress: Progress) -> GateOutcome:
        assert self.settings is not None  # noqa: S101  (it has the limits)
        stands_for_gpu = None
        if rounded is not None:
            opened = open_backend(rounded, "onnxruntime", "cpu")
            stands_for_gpu = self._labels_on(opened, f"{file.name}, every rounding put in", progress)
        required = frozenset(self.settings.backends)
        reports: dict[str, GateReport] = {}
        refused: dict[str, str] = {}
        for backend in backends:
            try:
                opened = open_backend(file, backend, "cpu", keep=False)
                reports[backend] = self._labels_on(opened, file.name, progress)
            except CE2PRuntimeError as error:
                if backend in required:
                    raise
                refused[backend] = str(error).removeprefix(f"{file}: ")  # its folder is a temporary one
        if not reports and stands_for_gpu is None:
            raise GateError(f"{file.name}: no backend runs it: {'; '.join(refused.values()) or 'none is installed'}")
        return GateOutcome(reports, refused, required, stands_for_gpu)

    def _labels_on(self, backend: Backend, name: str, progress: Progress) -> GateReport:
        assert self.labels is not None and self.settings is not None  # noqa: S101, PT018  (a gate has both)
        with HumanParser.on(backend, name=name) as parser:
            return judge_labels(self.labels, parser, self.settings.limits, partial(progress, "judging labels"))


@contextmanager
def _rounded_copy(file: Path, half: bool) -> Iterator[Path | None]:
    """`with_roundings`, a file of float32 inputs and outputs, under metadata that say so; None unless `half`."""
    if not half:
        yield None
        return
    model = with_roundings(file)
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    metadata = ModelMetadata.from_json(entry.value, file.name)
    inside = "fp32" if PRECISIONS[metadata.precision].half else metadata.precision
    entry.value = replace(metadata, precision=inside, io="float32", digest="").to_json()
    with tempfile.TemporaryDirectory() as folder:
        rounded = Path(folder, file.name)
        onnx.save(model, str(rounded))
        yield rounded
