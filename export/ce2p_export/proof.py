"""The proof every export ends with: the file, run by ONNX Runtime, against the trained PyTorch network.

Both see the same photographs and noise. The reference is the network as trained, unfolded, in float32, with its own
plain preparation and upsampling, so that the proof covers folding, tracing, fused ops and everything in the graph.

Error budget. Float32 rounding, amplified by up to 120 layers, separates two correct implementations by a relative L2
of 3e-6 to 2e-5 (measured: folded against unfolded, public code against ours, either against float64). The smallest real
mistake known, InPlaceABN's forgotten epsilon, shows as 5e-4. The limit of 1e-4 stands between the two. Labels may
differ where the two best logits lie within that rounding: less than 1 pixel in 1000, on the worst input.

Half precision rounds every tensor by a relative 2^-11 at most, 2.8e-4 in the mean square; 50 to 120 of them in a row,
independent, add up to 2e-3 to 3e-3. Measured on untrained networks of all families: 1e-3 to 5e-3, R101 no worse than
R18, and 99.0 % equal labels at the least; a trained one stayed below 1e-3. The limits of 1e-2 and 98 % leave twice
that, and bfloat16 (2^-8) breaks them on four families of five. Mistakes smaller than that show only in the fp32 export
of the same network, which is folded by the same code. ONNX Runtime leaves most of these roundings out on CPUs, so an
fp16 file is proved twice: as it runs there, and with every rounding put in (`precision.rounding`), which is also what
finds activations beyond 65504. bfloat16 has three bits less: its limits are eight times as wide, and it is proved with
the roundings only, since ONNX Runtime does not run it on CPUs. For labels the gate has narrower limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ce2p.errors import CE2PError
from ce2p.models import CE2P
from ce2p.preprocessing import Preprocessing
from ce2p_runtime.base.text import install_hint
from ce2p_runtime.process.telemetry import import_onnxruntime

from .onnx_graph import GraphOptions
from .precision import with_roundings

__all__ = [
    "LIMITS",
    "MAX_RELATIVE_L2",
    "MIN_PIXEL_AGREEMENT",
    "Comparison",
    "Limits",
    "Proof",
    "ProofError",
    "proof_inputs",
    "proof_pictures",
    "prove",
]

MAX_RELATIVE_L2 = 1e-4
MIN_PIXEL_AGREEMENT = 0.999


@dataclass(frozen=True)
class Limits:
    """What a proof must hold on every picture."""

    relative_l2: float
    """At most."""
    pixel_agreement: float
    """At least."""


LIMITS = {
    "fp32": Limits(MAX_RELATIVE_L2, MIN_PIXEL_AGREEMENT),
    "fp16": Limits(1e-2, 0.98),
    "bf16": Limits(8e-2, 0.85),
}
"""By precision; the error budget is in the module docstring. int8 has none: its files are judged by their labels."""


class ProofError(CE2PError):
    """The exported file does not compute what the trained network computes."""


@dataclass(frozen=True)
class Comparison:
    """One input through both."""

    picture: str
    relative_l2: float | None
    """||file - reference|| / ||reference|| over all float outputs; None where only labels leave the graph."""
    max_abs: float | None
    pixel_agreement: float
    """Share of pixels with the same label."""


@dataclass(frozen=True)
class Proof:
    """All comparisons, and the verdict of the worst."""

    rows: tuple[Comparison, ...]
    runtime: str
    limits: Limits = LIMITS["fp32"]

    @property
    def worst(self) -> Comparison:
        return max(self.rows, key=lambda row: (1 - row.pixel_agreement, row.relative_l2 or 0.0))

    @property
    def max_relative_l2(self) -> float:
        return max((row.relative_l2 for row in self.rows if row.relative_l2 is not None), default=0.0)

    @property
    def failure(self) -> str | None:
        """Why the proof failed, in one line, or None. Comparisons are written so that NaN fails."""
        limits = self.limits
        for row in self.rows:
            if row.relative_l2 is not None and not row.relative_l2 <= limits.relative_l2:
                return f"relative L2 {row.relative_l2:.1e} on {row.picture} exceeds {limits.relative_l2:.0e}"
            if not row.pixel_agreement >= limits.pixel_agreement:
                return (
                    f"pixel agreement {row.pixel_agreement:.3%} on {row.picture} is below {limits.pixel_agreement:.1%}"
                )
        return None

    def to_dict(self) -> dict[str, Any]:
        return {
            "runtime": self.runtime,
            "limits": asdict(self.limits),
            "rows": [asdict(row) for row in self.rows],
        }


def proof_pictures(size: tuple[int, int]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Photographs that ship with scikit-image, and noise: name and uint8 BGR [H, W, 3] of the given size."""
    from skimage import data

    height, width = size
    for name in ("astronaut", "coffee", "rocket"):
        rgb = getattr(data, name)()
        yield name, np.ascontiguousarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)[:, :, ::-1])
    rng = np.random.default_rng(0)
    yield "noise", rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(rng.normal(128, 900, (height, width, 3)), (0, 0), max(size) / 60)
    yield "soft noise", np.clip(blurred, 0, 255).astype(np.uint8)


def prove(file: Path, net: CE2P, preprocessing: Preprocessing, options: GraphOptions) -> Proof:
    """Run `file` and `net` on every proof picture. The caller looks at `Proof.failure`.

    A static batch above 1 is filled by rotating through the pictures; a dynamic one runs at 1 and with all together.
    An fp16 file also runs with every rounding put in, a bf16 one only so.
    Raises ProofError where the file cannot be loaded or run at all.
    """
    pictures = list(proof_pictures(options.size))
    sessions = {} if options.precision == "bf16" else {"": _session(str(file))}
    if options.precision in ("fp16", "bf16"):
        sessions["rounded"] = _session(with_roundings(file).SerializeToString())
    references = [_reference(net, picture, preprocessing, options) for _, picture in pictures]
    rows = []
    for indices in _batches(len(pictures), options.batch):
        batch = np.concatenate([_network_input(pictures[i][1], preprocessing, options) for i in indices])
        for remark, session in sessions.items():
            entry = session.get_inputs()[0]
            fed = batch.astype(np.float16) if entry.type == "tensor(float16)" else batch
            outputs = [_as_float32(output) for output in session.run(None, {entry.name: fed})]
            remarks = [remark, "" if len(indices) == 1 or options.batch else "batched"]
            suffix = f" ({', '.join(filter(None, remarks))})" if any(remarks) else ""
            for position, i in enumerate(indices):
                rows.append(_compare(pictures[i][0] + suffix, [output[position] for output in outputs], references[i]))
    return Proof(tuple(rows), f"onnxruntime {_runtime_version()}, CPU", LIMITS[options.precision])


def proof_inputs(preprocessing: Preprocessing, options: GraphOptions) -> Iterator[NDArray[Any]]:
    """The proof's pictures as the network takes them, batches of one."""
    for _, picture in proof_pictures(options.size):
        yield _network_input(picture, preprocessing, options)


def _as_float32(output: NDArray[Any]) -> NDArray[Any]:
    return output.astype(np.float32) if output.dtype == np.float16 else output


def _session(model: str | bytes) -> Any:
    try:
        return import_onnxruntime().InferenceSession(model, providers=["CPUExecutionProvider"])
    except ImportError:
        raise ProofError(f"the proof needs ONNX Runtime, which is not installed; {install_hint('cpu')}") from None
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ProofError(f"ONNX Runtime does not load the export: {str(error).splitlines()[0]}") from error


def _runtime_version() -> str:
    return str(import_onnxruntime().__version__)


def _batches(count: int, batch: int | None) -> list[list[int]]:
    if batch is None:
        return [*([i] for i in range(count)), list(range(count))]
    return [[(start + offset) % count for offset in range(batch)] for start in range(0, count, batch)]


def _network_input(picture: NDArray[np.uint8], preprocessing: Preprocessing, options: GraphOptions) -> NDArray[Any]:
    """The plain way: colour order, scale, mean, std in float32, one expression."""
    if options.input_kind == "uint8":
        return picture[None]
    how = preprocessing.normalisation
    pixels = picture[:, :, ::-1] if how.colour_order == "rgb" else picture
    scaled = pixels.astype(np.float32) * np.float32(how.scale)
    normalised = (scaled - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])


def _reference(
    net: CE2P, picture: NDArray[np.uint8], preprocessing: Preprocessing, options: GraphOptions
) -> list[NDArray[Any]]:
    """What the outputs should be, from the trained network, in the order of the graph's outputs."""
    float_options = GraphOptions(options.size)
    with torch.no_grad():
        outputs = net(torch.from_numpy(_network_input(picture, preprocessing, float_options)))
        parsing = outputs.parsing
        if options.output_kind == "labels":
            full = F.interpolate(parsing, size=options.size, mode="bilinear", align_corners=net.config.align_corners)
            parsing = full.argmax(1).to(torch.uint8)
    wanted = [parsing, outputs.edge] if options.edge else [parsing]
    return [tensor[0].numpy() for tensor in wanted]


def _compare(picture: str, found: list[NDArray[Any]], expected: list[NDArray[Any]]) -> Comparison:
    floats = [(f, e) for f, e in zip(found, expected, strict=True) if e.dtype == np.float32]
    relative = max_abs = None
    if floats:
        relative = max(float(np.linalg.norm(f - e) / np.linalg.norm(e)) for f, e in floats)
        max_abs = max(float(np.abs(f - e).max()) for f, e in floats)
    labels, truth = (x if x.dtype == np.uint8 else x.argmax(0) for x in (found[0], expected[0]))
    return Comparison(picture, relative, max_abs, float((labels == truth).mean()))
