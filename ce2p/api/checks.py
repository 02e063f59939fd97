"""What can be known before the work starts: backends that do not run a file, pictures that are not there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ce2p.data.splits import recognise
from ce2p_runtime import BackendError
from ce2p_runtime.backends import precision_refusal
from ce2p_runtime.media.listing import list_pictures


def check_precision(names: Iterable[str], precision: str, what: str) -> None:
    """Raise BackendError where one of the backends does not run this precision; `what` names the file or option."""
    for name in names:
        refusal = precision_refusal(name, precision)
        if refusal is not None:
            raise BackendError(f"{what}: {refusal}")


def check_pictures(source: Path | None) -> None:
    """Raise MediaError where there are no pictures at `source`. A data set's own contents are not looked at yet."""
    if source is not None and not (source.is_dir() and recognise(source) is not None):
        list_pictures(source)
