"""Memory of a training: how much it takes, and on the CPU pages that a step frees and the next one gets back."""

from __future__ import annotations

import ctypes
import resource
import sys

import torch

# glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Let glibc keep the pages that are freed; returns whether it does (False on other systems).

    By default large tensors are mapped and unmapped in every step, and each of their pages is a fault when it is first
    written: a fifth of the time of a tiny network's step on two cores.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**28))
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)


def peak_memory(device: torch.device) -> int:
    """Most bytes that were in use at a time: of the GPU by tensors where one trains, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
