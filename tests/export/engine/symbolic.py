"""TensorRT's symbolic dimensions, as far as plugins see them: tensorrt.plugin's classes can be driven without a build.

The real ones exist only inside a build with a GPU. A dimension here knows its value for one choice of batch, and if it
is a constant, so that what a plugin states symbolically can be compared with the numbers it has to come to.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

__all__ = ["Symbols"]


class Symbols:
    """A factory of dimensions and of the objects that TensorRT hands to a plugin, for one tensorrt module."""

    def __init__(self, trt: ModuleType) -> None:
        self.trt = trt

        class Dimension(trt.IDimensionExpr):  # type: ignore[misc]
            value: int
            constant: bool

            def is_constant(self) -> bool:
                return self.constant

            def get_constant_value(self) -> int:
                assert self.constant, "the value of a dimension that depends on the batch was asked for"
                return self.value

        self._type = Dimension

    def dimension(self, value: int, *, constant: bool = True) -> Any:
        # The class has no constructor for Python; __new__ alone makes an object of it.
        made = self._type.__new__(self._type)
        made.value, made.constant = value, constant
        return made

    def constant(self, value: int) -> Any:
        """As IExprBuilder."""
        return self.dimension(value)

    def operation(self, kind: Any, first: Any, second: Any) -> Any:
        """As IExprBuilder."""
        a, b = first.value, second.value
        value = {
            "SUM": a + b,
            "SUB": a - b,
            "PROD": a * b,
            "MAX": max(a, b),
            "MIN": min(a, b),
            "CEIL_DIV": -(-a // b),
            "FLOOR_DIV": a // b,
        }[kind.name]
        return self.dimension(value, constant=first.constant and second.constant)

    def tensor(self, shape: tuple[int, ...], dtype: Any, *, dynamic_batch: bool = False) -> Any:
        """What get_supported_format_combinations and get_launch_params are given for one tensor."""
        desc = self.trt.DynamicPluginTensorDesc()
        desc.desc.dims = self.trt.Dims((-1, *shape[1:]) if dynamic_batch else shape)
        desc.desc.type = dtype
        desc.desc.format = self.trt.TensorFormat.LINEAR
        desc.min = desc.opt = desc.max = self.trt.Dims(shape)
        return desc

    def dimensions(self, shape: tuple[int, ...], *, dynamic_batch: bool = False) -> list[Any]:
        return [self.dimension(value, constant=not (dynamic_batch and axis == 0)) for axis, value in enumerate(shape)]

    @staticmethod
    def launch() -> Any:
        """Where get_launch_params puts grid, block and shared memory."""
        return SimpleNamespace()


class Setter(dict[int, Any]):
    """Where get_launch_params puts the scalar arguments."""

    nbSymExprs = 0  # noqa: N815  (TensorRT's name)
