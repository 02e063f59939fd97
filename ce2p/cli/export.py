"""`ce2p export`: the front door's export, with its steps and what it found on the screen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ce2p.api.export import export
from ce2p_export import Exported

from .console import progress_bar, remark, write_json
from .export_report import report
from .preflight import check_json

__all__ = ["export_shown", "run"]


def run(model: str, output: Path | None, *, json: str | None, overwrite: bool, **options: Any) -> None:
    """Export and report; `options` are those of `ce2p.export`. Raises CE2PError."""
    check_json(json, [model], overwrite)
    exported = export_shown(model, output, overwrite=overwrite, **options)
    if json:
        write_json({"path": str(exported.path), **dataclasses.asdict(exported.metadata)}, json, "export")
    if json != "-":
        report(exported)


def export_shown(model: str, output: Path | None, **options: Any) -> Exported:
    """`ce2p.export`, with progress on the screen."""
    with _steps() as progress:
        return export(model, output, progress=progress, **options)


@contextmanager
def _steps() -> Iterator[Callable[[str, int, int], None]]:
    """A line for every step, and a bar for those that have parts."""
    with progress_bar("done") as bars:
        tasks: dict[str, Any] = {}
        said = ""

        def tell(step: str, done: int, total: int) -> None:
            nonlocal said
            if step != said and (total == 0 or step not in tasks):
                remark(f"{step} ...")
                said = step
            if total == 0:
                return
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total, note="")
            bars.update(tasks[step], completed=done, total=total)
            if done >= total:
                bars.remove_task(tasks.pop(step))

        yield tell
