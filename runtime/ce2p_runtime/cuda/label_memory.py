"""Device memory for labels that stay on the device: theirs for as long as somebody holds them, then used again."""

from __future__ import annotations

import weakref

from .driver import DeviceBuffer, Resources

__all__ = ["LabelMemory", "Lease"]


class Lease:
    """Device memory that returns to its pool when nobody refers to this any more."""

    def __init__(self, resources: Resources, buffer: DeviceBuffer, pool: list[DeviceBuffer]) -> None:
        self.buffer = buffer
        self._resources = resources  # outlives the pipeline for as long as a caller holds labels
        weakref.finalize(self, pool.append, buffer)


class LabelMemory:
    """Memory for labels that stay on the device, by size: no allocation per frame, which would stop the GPU."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._pools: dict[int, list[DeviceBuffer]] = {}

    def lease(self, nbytes: int) -> Lease:
        """Memory of this size. The context must be current."""
        pool = self._pools.setdefault(nbytes, [])
        buffer = pool.pop() if pool else self._resources.buffer(nbytes)
        return Lease(self._resources, buffer, pool)
