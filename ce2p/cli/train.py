"""`ce2p train`: the front door's training, with its steps and scores on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ce2p.api.train import Trained, train
from ce2p.training.loop import StepReport

from .console import remark, say, shows_bars, step_bars

__all__ = ["run"]


def run(model: str, data: Path, **options: Any) -> None:
    """Train and report; `options` are those of `ce2p.train`. Raises CE2PError."""
    with step_bars() as bar:

        def stepped(report: StepReport) -> None:
            """A bar on a terminal; elsewhere a line per epoch."""
            bar("training", report.step, report.total_steps, _figures(report))
            if not shows_bars() and report.step % (report.total_steps // report.epochs) == 0:
                remark(f"step {report.step} of {report.total_steps}: {_figures(report)}")

        trained = train(model, data, progress=bar, on_step=stepped, on_scores=_say_scores, **options)
    if trained.leads:
        _report(trained)


def _figures(report: StepReport) -> str:
    losses = ", ".join(f"{name} {value:.3f}" for name, value in report.losses.items())
    memory = f"{report.peak_memory / 2**30:.1f} GiB" + (" on the GPU" if report.device.type == "cuda" else "")
    return (
        f"epoch {report.epoch + 1}/{report.epochs}, {losses}, {report.pictures_per_second:.1f} pictures/s, "
        f"{report.waiting:.0%} waiting for data, {memory}"
    )


def _say_scores(epoch: int, scores: Mapping[str, float], best: bool) -> None:
    mark = ", the best so far" if best else ""
    say(f"epoch {epoch + 1}: mIoU {scores['mean_iou']:.4f}, pixel accuracy {scores['pixel_accuracy']:.4f}{mark}")


def _report(trained: Trained) -> None:
    say(f"trained {trained.epochs} epochs; {trained.last}")
    if trained.best is not None:
        say(f"best mIoU {trained.best_miou:.4f}: {trained.best}")
        say(f"next: ce2p val {trained.best} --data DIR; ce2p export {trained.best}")
