"""The commands around training: data sets, training, scores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ce2p.datasets import names_of

from .ignored_options import VAL, refuse_ignored
from .options import BACKEND_NAMES, Dataset, Json, Overwrite, Stride, Threads

__all__ = ["data_app", "train", "val"]

_OPENED, _DRAWN = ", ".join(names_of(layout=True)), ", ".join(names_of(people=True))

data_app = typer.Typer(help="Check data sets, draw synthetic ones, merge SBD into VOC.", no_args_is_help=True)


def train(
    model: Annotated[
        str,
        typer.Argument(help="Model name such as lip-r101-os16 (custom-... for classes of your own), or a config.yaml."),
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data set, in its published layout.")],
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
        typer.Option(help="Fine-tune: start from this checkpoint; classifiers of other classes begin anew."),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option(help="Start from ImageNet weights: the public file of the recipe's backbone.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
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
    # Before torch starts its threads: see `demo`.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ce2p.cli.train import run

    run(
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


def val(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Folder of the data set, in its published layout.")],
    model: Annotated[
        Path | None, typer.Argument(help="Checkpoint, ONNX file or engine; the file itself is scored.")
    ] = None,
    dataset: Dataset = None,
    split: Annotated[str, typer.Option(help="train, val or test, where it has annotations.")] = "val",
    imgsz: Annotated[
        str | None, typer.Option(help="Checkpoints: input side, or height and width. Default: as trained.")
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average with the mirrored picture; left and right exchanged.")
    ] = False,
    scales: Annotated[str, typer.Option(help="Checkpoints: average over these scales, e.g. 0.75,1,1.25.")] = "1",
    backend: Annotated[str, typer.Option(help=f"auto, {BACKEND_NAMES}; checkpoints: torch.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
    threads: Threads = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures at a time, where the model takes several.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Score the first pictures only.")] = None,
    stride: Stride = None,
    instances: Annotated[
        Path | None, typer.Option(help="Instead of a model: results of `ce2p people`, scored as AP^r, AP^p and PCP.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="AP^r: a true part counts once, not as published.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", help="Folder for scores.json, scores.md, the worst pictures.")
    ] = None,
    trust_engine: Annotated[
        bool, typer.Option("--trust-engine", help="Load an engine that its .json was not written for; it runs code.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Score a model on annotated pictures, beside the published figures of its row."""
    refuse_ignored(context, VAL)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch starts its threads: see `demo`
    from ce2p.cli.arguments import image_size
    from ce2p.cli.val import parse_scales, run

    of_both = {"dataset": dataset, "split": split, "limit": limit}
    of_networks = {
        "imgsz": image_size(imgsz) if imgsz else None,
        "flip": flip,
        "scales": parse_scales(scales),
        "backend": backend,
        "device": device,
        "threads": threads,
        "batch": batch,
        "stride": stride,
        "trust_engine": trust_engine,
    }
    run(
        model,
        data,
        instances=instances,
        strict=strict,
        output=output,
        json=json,
        overwrite=overwrite,
        **of_both,
        **({} if instances else of_networks),
    )


@data_app.command()
def check(
    root: Annotated[Path, typer.Argument(help="Folder of the data set, in its published layout.")],
    dataset: Annotated[str | None, typer.Option(help=f"{_OPENED}. Default: recognised from the folder.")] = None,
    splits: Annotated[
        str | None,
        typer.Option(help="Comma-separated: train,val,test. Default: those with an id list, and val beside train."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Find missing pairs, wrong sizes and labels out of range; show how often each class occurs.

    Published data sets are taken in their published layouts. Classes of your own:

    \b
    DIR/classes.txt                  one name per line, the background first
    DIR/train_id.txt                 one id per line
    DIR/train_images/ID.jpg          or .png, .jpeg
    DIR/train_segmentations/ID.png   grey or palette; pixel = class number from 0, 255 = ignore
    DIR/val_id.txt, DIR/val_...      the same; training scores on these
    """
    from ce2p.cli.data import run_check

    run_check(root, json=json, overwrite=overwrite, dataset=dataset, splits=splits.split(",") if splits else ())


@data_app.command()
def synthetic(
    root: Annotated[Path, typer.Argument(help="New folder.")],
    dataset: Annotated[str, typer.Option(help=f"Whose layout and classes: {_DRAWN}.")] = "lip",
    train: Annotated[int, typer.Option(min=0, help="Pictures to train on.")] = 400,
    val: Annotated[int, typer.Option(min=0, help="Pictures to score on; other people than those to train on.")] = 50,
    size: Annotated[str, typer.Option(help="Height x width.")] = "256x192",
    seed: Annotated[int, typer.Option(help="The same seed draws the same people.")] = 0,
) -> None:
    """Draw people with exact labels, in any data set's layout."""
    from ce2p.cli.arguments import image_size
    from ce2p.cli.data import run_synthetic

    run_synthetic(root, dataset=dataset, train=train, val=val, size=image_size(size, "--size"), seed=seed)


@data_app.command()
def sbd(
    voc: Annotated[Path, typer.Argument(help="VOCdevkit/VOC2012, or a folder that contains it.")],
    sbd: Annotated[Path, typer.Argument(help="SBD, unpacked: cls/*.mat, train.txt, val.txt.")],
) -> None:
    """Make VOC's training set `trainaug` (10,582 pictures) with the annotations of SBD."""
    from ce2p.cli.data import run_sbd

    run_sbd(voc, sbd)
