"""How long work tells its caller how far it is: one kind of function for all packages."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], object]
"""Called with (what is being done, parts done, parts in all): 0 of 0 where a step has no parts, n of 0 where how many
is not known. What it returns counts for nothing, except that False stops the build of an engine."""
StepProgress = Callable[[int, int], object]
"""The same for work that is one step, which its caller names: `functools.partial(progress, "scoring")`."""


def without_progress(step: str, done: int, total: int) -> None:
    """For callers who do not ask how far the work is."""
