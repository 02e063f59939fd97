"""`ce2p train`: its options, and the front door's training with its steps and scores on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DataFolder, Device, wait_passively

if TYPE_CHECKING:  # they load torch, which the help of a command does without
    from ce2p.api.train import Trained
    from ce2p.training.loop import StepReport


def train(
    model: Annotated[
        str,
        typer.Argument(help="Model name such as lip-r101-os16 (custom-... for classes of your own), or a config.yaml."),
    ],
    data: DataFolder,
    recipe: Annotated[str | None, typer.Option(help="ssseg (default), ce2p, schp, mce2p or tiny.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any value of the recipe, e.g. optimiser.lr=0.02."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", help="Folder of the run. Default: runs/<model>-<recipe>.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, from its snapshot.")
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(help="Fine-tune: start from this checkpoint; classifiers of other classes start anew."),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option(help="Start from ImageNet weights: the public file of the recipe's backbone.")
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that prepare data. Default: up to 16 for a GPU, 1 for the CPU.")
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile the network.")] = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="GPU: the same weights every time, where torch can; slower.")
    ] = False,
    validate_every: Annotated[
        int, typer.Option("--val-every", min=0, help="Epochs between two scores; 0: never.")
    ] = 10,
    validate_limit: Annotated[
        int | None, typer.Option("--val-limit", min=1, help="Score on the first pictures only.")
    ] = None,
    snapshot_minutes: Annotated[
        float, typer.Option(min=0.0, help="Time between two snapshots; each epoch ends in one.")
    ] = 10,
) -> None:
    """Train a network on LIP, CIHP, ATR, Pascal-Person-Part, VOC or your own data; killed runs go on with --resume.

    Several GPUs: torchrun --nproc-per-node=4 -m ce2p train ... (the batch stays the recipe's).
    """
    wait_passively()
    train_shown(
        model,
        data,
        recipe=recipe,
        overrides=tuple(overrides or ()),
        output=output,
        resume=resume,
        init=init,
        backbone=backbone,
        device=device,
        workers=workers,
        compiled=compiled,
        deterministic=deterministic,
        validate_every=validate_every,
        validate_limit=validate_limit,
        snapshot_minutes=snapshot_minutes,
    )


def train_shown(model: str, data: Path, **options: Any) -> None:
    """Train and report; `options` are those of `ce2p.train`. Raises CE2PError."""
    from ce2p.api.train import train as train_network

    from .console import remark, shows_bars, step_bars

    with step_bars() as bar:

        def stepped(report: StepReport) -> None:
            """A bar on a terminal; elsewhere a line per epoch."""
            bar("training", report.step, report.total_steps, _figures(report))
            if not shows_bars() and report.step % (report.total_steps // report.epochs) == 0:
                remark(f"step {report.step} of {report.total_steps}: {_figures(report)}")

        trained = train_network(model, data, progress=bar, on_step=stepped, on_scores=_say_scores, **options)
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
    from .console import say

    mark = ", the best so far" if best else ""
    say(f"epoch {epoch + 1}: mIoU {scores['mean_iou']:.4f}, pixel accuracy {scores['pixel_accuracy']:.4f}{mark}")


def _report(trained: Trained) -> None:
    from .console import say

    say(f"trained {trained.epochs} epochs; {trained.last}")
    if trained.best is not None:
        say(f"best mIoU {trained.best_miou:.4f}: {trained.best}")
        say(f"next: ce2p val {trained.best} --data DIR; ce2p export {trained.best}")
