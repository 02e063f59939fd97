"""Exported networks of every kind, and the stand-in GPU they run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ce2p_export import GraphOptions, export_onnx, open_source
from tests.cuda_standin import GpuStandIn, Machine, gpu_stand_in

SIZE = (65, 65)
"""Small: the kernels are emulated."""


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exported untrained networks, by what is special about them."""
    folder = tmp_path_factory.mktemp("networks")
    kinds = {
        "schp": ("schp", GraphOptions(SIZE)),
        "ce2p": ("ce2p", GraphOptions(SIZE)),
        "mce2p": ("mce2p", GraphOptions(SIZE)),
        "ssseg": ("ssseg", GraphOptions(SIZE)),
        "uint8": ("schp", GraphOptions(SIZE, 1, "uint8", edge=True)),
        "labels": ("schp", GraphOptions(SIZE, 1, "uint8", "labels")),
        "dynamic": ("schp", GraphOptions(SIZE, None)),
    }
    sources = {family: open_source("lip-r18-os16", family=family, random=True) for family, _ in kinds.values()}
    return {
        kind: export_onnx(sources[family], options, folder / f"{kind}.onnx").path
        for kind, (family, options) in kinds.items()
    }


@pytest.fixture(params=[0, 1])
def gpu(request: pytest.FixtureRequest) -> Iterator[GpuStandIn]:
    """A stand-in GPU, twice, with different orders of what may happen in any order."""
    with gpu_stand_in(Machine(seed=request.param)) as stand_in:
        yield stand_in
