"""Methods of one object that take turns, for what only one thread at a time may touch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["one_at_a_time"]


class _Locked(Protocol):
    @property
    def _lock(self) -> AbstractContextManager[Any]: ...


Owner = TypeVar("Owner", bound=_Locked)
P = ParamSpec("P")
T = TypeVar("T")


def one_at_a_time(method: Callable[Concatenate[Owner, P], T]) -> Callable[Concatenate[Owner, P], T]:
    """Run `method` with its object's `_lock` held, a threading.RLock.

    Reentrant, because the garbage collector may call such a method in the middle of another one of the same thread.
    """

    @wraps(method)
    def alone(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            return method(self, *args, **kwargs)

    return alone
