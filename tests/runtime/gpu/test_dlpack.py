"""DLPack through ctypes, against NumPy's and torch's own."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch

from ce2p_runtime.cuda.dlpack import CPU, export_capsule, import_capsule


class Exporter:
    """A host array of ours, as other libraries see it."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = values

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0

    def __dlpack__(self, **arguments: object) -> Any:
        return export_capsule(self.values.ctypes.data, self.values.shape, self.values.dtype, (CPU, 0), self)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f2", "f4"])
@pytest.mark.parametrize("take", [np.from_dlpack, torch.from_dlpack], ids=["numpy", "torch"])
def test_others_read_what_we_export_and_keep_it_alive(take: Any, dtype: str) -> None:
    freed = []

    class Watched(Exporter):
        def __del__(self) -> None:
            freed.append(True)

    taken = take(Watched(np.arange(24, dtype=dtype).reshape(2, 3, 4)))
    gc.collect()
    assert not freed
    np.testing.assert_array_equal(np.asarray(taken), np.arange(24, dtype=dtype).reshape(2, 3, 4))
    del taken
    gc.collect()
    assert freed


def test_a_capsule_nobody_took_gives_its_memory_back() -> None:
    freed = []

    class Watched(Exporter):
        def __del__(self) -> None:
            freed.append(True)

    capsule = Watched(np.zeros(3, np.uint8)).__dlpack__()
    gc.collect()
    assert not freed
    del capsule
    gc.collect()
    assert freed


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_we_read_what_others_export(make: Any) -> None:
    whole = make(np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
    for array in (whole, whole[1:, :4], whole[::2]):
        plain = np.asarray(array)
        tensor = import_capsule(array.__dlpack__())
        assert (tensor.shape, tensor.dtype, tensor.device) == (plain.shape, plain.dtype, (CPU, 0))
        assert tensor.address == plain.ctypes.data
        assert tensor.strides == plain.strides
        tensor.done()


def test_a_capsule_is_taken_once_and_odd_types_are_refused() -> None:
    capsule = np.zeros(4, np.uint8).__dlpack__()
    import_capsule(capsule).done()
    with pytest.raises(ValueError, match="unused DLPack capsule"):
        import_capsule(capsule)
    with pytest.raises(ValueError, match="type 5 with 64 bits"):
        import_capsule(np.zeros(4, np.complex64).__dlpack__())
