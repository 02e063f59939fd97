"""The pictures that a file's logits are judged on, and what the trained network makes of them.

File and network see the same photographs and noise. The reference is the network as trained, unfolded, in float32, with
its own plain preparation and upsampling, so that the proof covers folding, tracing, fused ops and everything in the
graph. Why its limits are what they are stands in `ce2p_runtime.precisions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ce2p.errors import CE2PError
from ce2p.families import preprocessing_for
from ce2p.models import CE2P
from ce2p_runtime.base.text import first_line, install_hint
from ce2p_runtime.judge import LogitPicture
from ce2p_runtime.process.telemetry import import_onnxruntime

from .onnx_graph import GraphOptions


class ProofError(CE2PError):
    """The exported file does not compute what the trained network computes."""


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


def expected_logits(net: CE2P, options: GraphOptions) -> tuple[LogitPicture, ...]:
    """The proof's pictures as the file takes them, with what the trained network makes of each."""
    made = []
    for name, picture in proof_pictures(options.size):
        image = _network_input(net, picture, options.input_kind)
        made.append(LogitPicture(name, image, _reference(net, picture, options)))
    return tuple(made)


def open_session(file: Path) -> Callable[[NDArray[Any]], Sequence[NDArray[Any]]]:
    """What runs a file in ONNX Runtime on the CPU, batch by batch. Raises ProofError, which names the file."""
    try:
        session = import_onnxruntime().InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except ImportError:
        raise ProofError(f"the proof needs ONNX Runtime, which is not installed; {install_hint('cpu')}") from None
    except Exception as error:  # ONNX Runtime's errors share no base class
        reason = first_line(error)
        raise ProofError(f"{file.name}: ONNX Runtime does not load the export: {reason}") from error
    entry = session.get_inputs()[0]

    def run(batch: NDArray[Any]) -> Sequence[NDArray[Any]]:
        fed = batch.astype(np.float16) if entry.type == "tensor(float16)" else batch
        outputs: Sequence[NDArray[Any]] = session.run(None, {entry.name: fed})
        return outputs

    return run


def _network_input(net: CE2P, picture: NDArray[np.uint8], kind: str) -> NDArray[Any]:
    """The plain way: colour order, scale, mean, std in float32, one expression."""
    if kind == "uint8":
        return picture[None]
    how = preprocessing_for(net.config.family).normalisation
    pixels = picture[:, :, ::-1] if how.colour_order == "rgb" else picture
    scaled = pixels.astype(np.float32) * np.float32(how.scale)
    normalised = (scaled - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])


def _reference(net: CE2P, picture: NDArray[np.uint8], options: GraphOptions) -> list[NDArray[Any]]:
    """What the outputs should be, from the trained network, in the order of the graph's outputs."""
    with torch.no_grad():
        outputs = net(torch.from_numpy(_network_input(net, picture, "float")))
        parsing = outputs.parsing
        if options.output_kind == "labels":
            full = F.interpolate(parsing, size=options.size, mode="bilinear", align_corners=net.config.align_corners)
            parsing = full.argmax(1).to(torch.uint8)
    wanted = [parsing, outputs.edge] if options.edge else [parsing]
    return [tensor[0].numpy() for tensor in wanted]
