"""What a user decides about an engine. Precision is not among it: that is in the graph."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .failures import EngineError

HardwareCompatibility: TypeAlias = Literal["none", "ampere_plus", "same_compute_capability"]


@dataclass(frozen=True)
class BuildSettings:
    """How an engine is built. Raises EngineError on values that make no sense."""

    batches: tuple[int, ...] | None = None
    """Batch sizes, one optimisation profile each; None takes the batch of the file, which must then be static.

    One profile per size rather than one with a range: each size is timed by itself, its shapes never change while it
    is in use (ahead-of-time plugins of TensorRT 11.1 and 11.2 lose memory at every change), and a CUDA graph needs
    fixed shapes anyway. The weights are in the plan once.
    """
    workspace_gib: float | None = None
    """Upper limit of scratch memory in GiB; None leaves TensorRT the whole device."""
    optimization_level: int = 3
    """0 (builds fast) to 5 (tries most)."""
    plugins: bool = True
    """Our ops as our kernels; False builds their function bodies from standard layers."""
    tf32: bool = False
    """Let float32 convolutions round their factors to 10 bits of mantissa. Off: who asks for fp32 gets it."""
    version_compatible: bool = False
    """The plan also loads under later TensorRT versions."""
    hardware_compatibility: HardwareCompatibility = "none"
    """The plan also runs on other GPUs than the one it was built on."""

    def __post_init__(self) -> None:
        if self.batches is not None and (not self.batches or min(self.batches) < 1):
            raise EngineError(f"batch sizes {self.batches}: expected one or more numbers from 1 up")
        if self.workspace_gib is not None and not self.workspace_gib > 0:
            raise EngineError(f"--workspace {self.workspace_gib:g}: expected GiB above 0")
        if not 0 <= self.optimization_level <= 5:
            raise EngineError(f"--opt-level {self.optimization_level}: expected 0 to 5")
        if self.batches is not None:
            object.__setattr__(self, "batches", tuple(sorted(set(self.batches))))

    def to_dict(self) -> dict[str, Any]:
        """For the sidecar."""
        return dataclasses.asdict(self)
