"""DLPack by hand: the structure that libraries hand arrays to each other with, read and made through ctypes.

An exporter gives a PyCapsule named "dltensor" around a DLManagedTensor. Whoever takes it renames it to "used_dltensor"
and calls the tensor's deleter when done; a capsule that nobody took calls it itself. This is the unversioned structure
(DLPack 0.x), which every library still speaks when asked without `max_version`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

CPU, CUDA, CUDA_MANAGED = 1, 2, 13
_CODES = {0: "i", 1: "u", 2: "f"}


class _Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("index", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # in elements; NULL for C order
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]

_python = ctypes.pythonapi
_CapsuleDestructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _CapsuleDestructor)(
    ("PyCapsule_New", _python)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", _python))
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", _python))
# The destructor gets a capsule that is being destroyed: as a bare pointer, since a reference would revive it.
_dying_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _python))
_dying_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _python))

_FRESH, _USED = b"dltensor", b"used_dltensor"  # capsules keep the pointer: these must live as long as the process
_exported: dict[int, tuple[Any, ...]] = {}
"""Address of each tensor structure out there -> what it needs to stay alive."""


@dataclass(frozen=True)
class DLPackTensor:
    """What an array's capsule said. Call `done` once, when its memory is not needed any more."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In bytes."""
    dtype: np.dtype[Any]
    device: tuple[int, int]
    """(kind, index), kind as CPU and CUDA here."""
    done: Callable[[], None]


def import_capsule(capsule: Any) -> DLPackTensor:
    """Take the tensor out of a "dltensor" capsule. Raises ValueError for another capsule or an unusual element type."""
    try:
        address = _pointer(capsule, _FRESH)
    except ValueError:
        raise ValueError("expected an unused DLPack capsule; it was taken before, or is of another kind") from None
    managed = ctypes.cast(address, ctypes.POINTER(_Managed))
    tensor = managed.contents.tensor
    code, bits, lanes = tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes
    if code not in _CODES or bits % 8 or lanes != 1:
        raise ValueError(f"a DLPack array of type {code} with {bits} bits and {lanes} lanes, expected uint8")
    dtype = np.dtype(f"{_CODES[code]}{bits // 8}")
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    if tensor.strides:
        strides = tuple(tensor.strides[i] * dtype.itemsize for i in range(tensor.ndim))
    else:
        strides = tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) * dtype.itemsize for i in range(len(shape)))
    _rename(capsule, _USED)

    def done() -> None:
        if managed.contents.deleter:
            managed.contents.deleter(managed)

    where = (tensor.device.kind, tensor.device.index)
    return DLPackTensor((tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, where, done=done)


def export_capsule(
    address: int, shape: tuple[int, ...], dtype: np.dtype[Any], device: tuple[int, int], owner: object
) -> Any:
    """A "dltensor" capsule of a C-contiguous array; `owner` stays alive until the taker is done."""
    dimensions = (ctypes.c_int64 * len(shape))(*shape)
    code = next(code for code, kind in _CODES.items() if kind == dtype.kind)
    element = _DataType(code, dtype.itemsize * 8, 1)
    tensor = _Tensor(address, _Device(*device), len(shape), element, dimensions, strides=None, byte_offset=0)
    managed = _Managed(tensor, None, _delete_callback)
    key = ctypes.addressof(managed)
    _exported[key] = (managed, dimensions, owner)
    return _new(key, _FRESH, _destroy_callback)


def _delete(managed: Any) -> None:
    _exported.pop(ctypes.addressof(managed.contents), None)


def _destroy_capsule(capsule: int) -> None:
    if _dying_is_valid(capsule, _FRESH):  # nobody took it
        _exported.pop(_dying_pointer(capsule, _FRESH), None)


# C calls these at any time: they must live as long as the process.
_delete_callback = _Deleter(_delete)
_destroy_callback = _CapsuleDestructor(_destroy_capsule)
