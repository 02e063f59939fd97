"""What a run writes about itself: losses and scores as CSV and for TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from ce2p_runtime.base.files import atomic_path

from ..errors import ConfigError
from .loop import StepReport


class RunLogs:
    """`losses.csv`, `scores.csv` and `tensorboard/` in a run's folder.

    A resumed run repeats what came after its snapshot: `first_step` drops those rows, so that each step is there once.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        self._folder = folder
        for name in ("losses.csv", "scores.csv"):
            _cut(folder / name, first_step)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1 if first_step else None)

    def losses(self, report: StepReport) -> None:
        """One row: where, how fast, which losses."""
        facts = {
            "step": report.step,
            "epoch": report.epoch,
            "learning_rate": report.learning_rate,
            "pictures_per_second": round(report.pictures_per_second, 2),
            "waiting": round(report.waiting, 4),
        }
        self._row("losses.csv", facts | report.losses)
        for name, value in report.losses.items():
            self._board.add_scalar(f"loss/{name}", value, report.step)
        for name in ("learning_rate", "pictures_per_second", "waiting"):
            self._board.add_scalar(f"run/{name}", facts[name], report.step)

    def scores(self, step: int, epoch: int, scores: Mapping[str, float]) -> None:
        """One row per validation."""
        self._row("scores.csv", {"step": step, "epoch": epoch, **scores})
        for name, value in scores.items():
            self._board.add_scalar(f"score/{name}", value, step)
        self._board.flush()

    def close(self) -> None:
        """Write out what is buffered."""
        self._board.close()

    def _row(self, name: str, row: Mapping[str, float]) -> None:
        path = self._folder / name
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)


def _cut(path: Path, last_step: int) -> None:
    """Keep the rows up to `last_step`; a half-written last row goes with the rest. Raises ConfigError."""
    if not path.exists():
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        kept = [
            row
            for row in rows
            if (row["step"] or "").isdigit() and int(row["step"]) <= last_step and not {None} & {*row, *row.values()}
        ]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise ConfigError(
            f"{path}: is no log of this run ({type(error).__name__}: {error!s:.80}); move it away to go on without it"
        ) from None
    if not kept:
        path.unlink()
        return
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(kept[0]))
        writer.writeheader()
        writer.writerows(kept)
