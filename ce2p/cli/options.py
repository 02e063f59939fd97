"""What the options of several commands have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ce2p.datasets import LABEL_SETS
from ce2p.families import DEFAULT_FAMILY, FAMILIES
from ce2p_runtime.backends import BACKENDS, DEVICE_BACKENDS

CPU_BACKEND_NAMES = ", ".join(BACKENDS)
"""For the help of options: backends that run ONNX files on a CPU."""
BACKEND_NAMES = ", ".join(
    name if ".onnx" in entry.suffixes else f"{name} ({', '.join(entry.suffixes)})"
    for name, entry in {**BACKENDS, **DEVICE_BACKENDS}.items()
)
"""All of them, with the files that they take where these are not ONNX files."""

Backend = Annotated[str, typer.Option(help=f"auto, {BACKEND_NAMES}.")]
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
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")]
TrustEngine = Annotated[
    bool, typer.Option("--trust-engine", help="Load an engine that its .json was not written for; it runs code.")
]
DataFolder = Annotated[Path, typer.Option(help="Folder of the data set, in its published layout.")]
Opacity = Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the overlay's colours.")]


def wait_passively() -> None:
    """Let torch's threads sleep while they wait for each other; to be called before torch is imported.

    By default they wait by spinning, and other load on the machine then slows training tenfold and more (measured on 2
    cores).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
