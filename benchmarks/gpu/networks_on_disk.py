"""The network that the GPU check measures, made once and read by every process that runs it.

Weights are random: what is measured depends on shapes alone, and what is checked on this network's own float32 result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ce2p.models import CE2P, CE2PConfig, parse_model_name, untrained
from ce2p_export import deploy
from ce2p_runtime.base.files import atomic_path

MODEL = "schp:lip-r101-os16:473"
"""Family, name and input side of the network whose targets stand in targets.py."""


@dataclass(frozen=True)
class NetworkFiles:
    """One network's files, and what its name says."""

    folder: Path
    model: str
    """FAMILY:NAME:SIDE."""

    @property
    def family(self) -> str:
        return self.model.split(":")[0]

    @property
    def name(self) -> str:
        return self.model.split(":")[1]

    @property
    def size(self) -> tuple[int, int]:
        side = int(self.model.split(":")[2])
        return side, side

    @property
    def turn(self) -> Path:
        """The lock that processes hold while they use the GPU (see workers.py)."""
        return self.folder / "gpu.lock"

    def net(self, kind: str) -> CE2P:
        """`kind`: "trained" or "folded". float32, on the CPU, in eval mode."""
        net: CE2P = torch.load(self._path(f"{kind}.pt"), weights_only=False)  # our own file
        return net

    def image(self) -> NDArray[np.float32]:
        """The input [1, 3, H, W] that `reference` belongs to."""
        image: NDArray[np.float32] = np.load(self._path("image.npy"))
        return image

    def reference(self) -> NDArray[np.float32]:
        """Parsing logits of the trained network in float32 on the CPU."""
        logits: NDArray[np.float32] = np.load(self._path("reference.npy"))
        return logits

    def _path(self, ending: str) -> Path:
        return self.folder / f"{self.model.replace(':', '-')}-{ending}"


def prepare(folder: Path, model: str) -> NetworkFiles:
    """The files in `folder`, made where they are missing (a few seconds, no GPU)."""
    files = NetworkFiles(folder, model)
    if files._path("reference.npy").exists():  # made last
        return files
    _, backbone, stride = parse_model_name(files.name)
    net = untrained(CE2PConfig.of(files.family, backbone, stride, 20))
    image = np.random.default_rng(0).standard_normal((1, 3, *files.size), np.float32)
    with torch.inference_mode():
        reference = net(torch.from_numpy(image)).parsing.numpy()
    for kind, made in (("trained", net), ("folded", deploy(net, files.size).net)):
        with atomic_path(files._path(f"{kind}.pt")) as path:
            torch.save(made, path)
    for kind, array in (("image", image), ("reference", reference)):
        with atomic_path(files._path(f"{kind}.npy")) as path, path.open("wb") as out:
            np.save(out, array)
    return files
