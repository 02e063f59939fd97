"""Exported networks of every kind, and the stand-in GPU they run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ce2p_export import GraphOptions
from tests.cuda_standin import GpuStandIn, Machine, gpu_stand_in

SIZE = (65, 65)
"""Small: the kernels are emulated."""


@pytest.fixture(scope="session")
def networks(exported: Callable[..., Path]) -> dict[str, Path]:
    """Exported untrained networks, by what is special about them."""
    return {
        "schp": exported(GraphOptions(SIZE)),
        "ce2p": exported(GraphOptions(SIZE), "ce2p"),
        "mce2p": exported(GraphOptions(SIZE), "mce2p"),
        "ssseg": exported(GraphOptions(SIZE), "ssseg"),
        "uint8": exported(GraphOptions(SIZE, 1, "uint8", edge=True)),
        "labels": exported(GraphOptions(SIZE, 1, "uint8", "labels")),
        "dynamic": exported(GraphOptions(SIZE, None)),
    }


@pytest.fixture(params=[0, 1])
def gpu(request: pytest.FixtureRequest) -> Iterator[GpuStandIn]:
    """A stand-in GPU, twice, with different orders of what may happen in any order."""
    with gpu_stand_in(Machine(seed=request.param)) as stand_in:
        yield stand_in
