"""A backend chosen by remembered times, whose first pass tells whether these can be believed.

A pass made for that alone would cost half a second of every start with a ResNet-101. So the first pass of the caller is
the trial: where it fails, or takes less than half of what is remembered (somebody disturbed that time unseen), the
memory is forgotten, and whoever opens the network next measures anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..measuring.timing import timed
from .base import Backend
from .choice_memory import BackendChoice

__all__ = ["RememberedBackend"]

logger = logging.getLogger(__name__)


class RememberedBackend(Backend):
    """`backend` as it is, with `forget` called where its first pass contradicts the time in `choice`."""

    def __init__(self, path: Path, backend: Backend, choice: BackendChoice, forget: Callable[[], None]) -> None:
        self.name, self.device = backend.name, backend.device
        self.metadata, self.batch = backend.metadata, backend.batch
        self.choice = choice
        self._backend = backend
        self._path = path
        self._forget: Callable[[], None] | None = forget
        self._expected = choice.median_ms.get(str(choice.option), 0.0)

    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """See Backend.run."""
        forget = self._forget
        if forget is None or len(batch) != (self.batch or 1):  # that is the batch that was timed
            return self._backend.run(batch)
        self._forget = None
        try:
            took, outputs = timed(lambda: self._backend.run(batch))
        except Exception:
            forget()
            raise
        if took < self._expected / 2:
            logger.info(
                "%s: took %.3g ms when it was timed and %.3g now; the next start times it again",
                self._path,
                self._expected,
                took,
            )
            forget()
        return outputs

    def close(self) -> None:
        """See Backend.close."""
        self._backend.close()
