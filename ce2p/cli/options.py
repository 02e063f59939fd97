"""Options that several commands share, and the choices of those that have some."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from ce2p.datasets import LABEL_SETS
from ce2p.families import DEFAULT_FAMILY, FAMILIES
from ce2p_runtime.backends import BACKENDS, DEVICE_BACKENDS

__all__ = [
    "BACKEND_NAMES",
    "CPU_BACKEND_NAMES",
    "Dataset",
    "Family",
    "Format",
    "Hardware",
    "Json",
    "LabelColours",
    "Overwrite",
    "PartScore",
    "Random",
    "Stride",
    "Threads",
]

CPU_BACKEND_NAMES = ", ".join(BACKENDS)
"""For the help of options: backends that run ONNX files on a CPU."""
BACKEND_NAMES = ", ".join(
    name if ".onnx" in entry.suffixes else f"{name} ({', '.join(entry.suffixes)})"
    for name, entry in {**BACKENDS, **DEVICE_BACKENDS}.items()
)
"""All of them, with the files that they take where these are not ONNX files."""

Json = Annotated[
    str | None, typer.Option("--json", metavar="[FILE]", help="Machine-readable result, to FILE or standard output.")
]
Dataset = Annotated[str | None, typer.Option(help=f"Label set: {', '.join(LABEL_SETS)}. Default: the model's own.")]
Stride = Annotated[int | None, typer.Option("--os", help="Output stride 8 or 16, for checkpoints that do not tell.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist already.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of the networks. Default: the backend's own.")]
Family = Annotated[str | None, typer.Option(help=f"With --random: {', '.join(FAMILIES)}. Default: {DEFAULT_FAMILY}.")]
Random = Annotated[
    bool, typer.Option("--random", help="MODEL is a name such as lip-r101-os16; use random weights, marked untrained.")
]


class Format(str, Enum):
    onnx = "onnx"
    engine = "engine"


class Hardware(str, Enum):
    none = "none"
    ampere_plus = "ampere_plus"
    same_compute_capability = "same_compute_capability"


class LabelColours(str, Enum):
    palette = "palette"
    grey = "grey"


class PartScore(str, Enum):
    logit = "logit"
    weighted = "weighted"
