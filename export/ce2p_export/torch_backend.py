"""A PyTorch network as a backend of the runtime, so that a checkpoint is scored by the very code that serves users."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ce2p.checkpoints import LoadedCheckpoint
from ce2p.labels import LabelSet
from ce2p.models import CE2P
from ce2p_runtime.backends import Backend
from ce2p_runtime.errors import BackendError
from ce2p_runtime.process.threads import one_at_a_time

from .onnx_graph import GraphOptions
from .source import SourceModel, build_metadata


class TorchBackend(Backend):
    """Runs a network as it is, not folded: float32 [N, 3, H, W] of any size and any batch in, logits out.

    `size`: (height, width) that frames are brought to. `weights`: where they come from, in words. `channels_last`:
    None for "on a GPU", where it is the faster order. The network is not copied: it is moved to the device, and one in
    training is in eval mode while it runs and as before afterwards, which is why several threads take turns. Raises
    BackendError for a device that is not there.
    """

    name = "torch"
    any_size = True
    batch: int | None = None

    def __init__(
        self,
        net: CE2P,
        labels: LabelSet,
        size: tuple[int, int],
        device: torch.device | str = "cpu",
        weights: str = "trained",
        *,
        channels_last: bool | None = None,
        untrained: bool = False,
    ) -> None:
        where = torch_device(device)
        on_gpu = where.type == "cuda"
        self._channels_last = on_gpu if channels_last is None else channels_last
        self._net: CE2P | None = net.to(where)
        if self._channels_last:
            net.to(memory_format=torch.channels_last)
        self._device = next(net.parameters()).device
        self._lock = threading.RLock()
        self.device = str(self._device)
        source = SourceModel(
            net=net, labels=labels, stem="network", weights=weights, input_size=size, untrained=untrained
        )
        self.metadata = build_metadata(source, GraphOptions(size, None), provenance={"runs": "unfolded, PyTorch"})

    @classmethod
    def of(
        cls,
        loaded: LoadedCheckpoint | SourceModel,
        size: tuple[int, int] | None = None,
        device: torch.device | str = "cpu",
    ) -> TorchBackend:
        """A checkpoint's network, at the size it was trained at unless told otherwise."""
        return cls(
            loaded.net, loaded.labels, size or loaded.input_size, device, loaded.weights, untrained=loaded.untrained
        )

    @one_at_a_time
    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """See Backend.run."""
        if self._net is None:
            raise BackendError("this PyTorch backend is closed")
        image = torch.from_numpy(np.ascontiguousarray(batch, np.float32)).to(self._device)
        if self._channels_last:
            image = image.to(memory_format=torch.channels_last)
        with _evaluating(self._net), torch.inference_mode():
            return [self._net(image).parsing.float().cpu().numpy()]

    @one_at_a_time
    def close(self) -> None:
        """See Backend.close."""
        self._net = None


def torch_device(name: torch.device | str) -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU. Raises BackendError for a device that is not there."""
    if isinstance(name, torch.device):
        return name
    try:
        device = torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise BackendError(f"device {name!r} is unknown here; expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BackendError(
            f"device {name} asked for, but this torch {torch.__version__} sees {torch.cuda.device_count()} GPUs; "
            "use --device cpu, or check the installation with `ce2p doctor`"
        )
    return device


@contextmanager
def _evaluating(net: CE2P) -> Iterator[None]:
    """Eval mode, and back to the mode every module had."""
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
