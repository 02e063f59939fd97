"""The command `ce2p parse`: its options. The work stands in `parse.py`, imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .ignored_options import PARSE, refuse_ignored
from .options import BACKEND_NAMES, Json, LabelColours, Overwrite, Threads

__all__ = ["parse"]


def parse(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(help="Picture, folder (with its sub-folders; `folder/*` without them), glob (quoted) or video."),
    ],
    model: Annotated[Path, typer.Option("--model", "-m", help="ONNX file or TensorRT engine made by `ce2p export`.")],
    output: Annotated[
        str,
        typer.Option(
            "-o",
            help="Folder for the results, in sub-folders as the pictures are; or the one file for one kind of result "
            "of one source, such as out.mp4.",
        ),
    ] = "parsed",
    save: Annotated[
        str | None,
        typer.Option(
            help="What to write, comma-separated: overlay, labels, masks, cutout (PNG with transparency); of videos "
            "overlay and labels. Default: overlay,labels."
        ),
    ] = None,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing", help="Keep results that exist and write the others; --overwrite is then for --json only."
        ),
    ] = False,
    overwrite: Overwrite = False,
    whole_names: Annotated[
        bool, typer.Option("--whole-names", help="a.jpg_labels.png: keeps a.jpg and a.png beside each other apart.")
    ] = False,
    labels: Annotated[
        LabelColours,
        typer.Option(help="Label PNGs: palette (coloured in viewers), or grey (pixel = class id to every reader)."),
    ] = LabelColours.palette,
    classes: Annotated[
        str | None, typer.Option(help='Of the cut-out, e.g. "Upper-clothes,Coat". Default: all but the background.')
    ] = None,
    opacity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the overlay's colours.")] = 0.5,
    max_pixels: Annotated[int, typer.Option(min=1, help="Larger pictures are refused.")] = 50_000_000,
    background: Annotated[
        str, typer.Option(help="Colour behind transparent pictures, by name or as #rrggbb.")
    ] = "white",
    backend: Annotated[str, typer.Option(help=f"auto, {BACKEND_NAMES}.")] = "auto",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N; a device asked for fails rather than falls back.")
    ] = "auto",
    threads: Threads = None,
    trust_engine: Annotated[
        bool, typer.Option("--trust-engine", help="Load an engine that its .json was not written for; it runs code.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json: Json = None,
) -> None:
    """Parse pictures or a video: overlays, label maps, masks, cut-outs. Files that exist are not replaced unasked."""
    from ce2p.cli.arguments import colour, name_list
    from ce2p.cli.parse import run

    refuse_ignored(context, PARSE)
    run(
        source,
        model,
        json=json,
        overwrite=overwrite,
        quiet=quiet,
        output=output,
        save=name_list(save, "--save"),
        existing="skip" if skip_existing else "replace" if overwrite else "refuse",
        whole_names=whole_names,
        grey_labels=labels is LabelColours.grey,
        classes=name_list(classes, "--classes") or (),
        opacity=opacity,
        max_pixels=max_pixels,
        background=colour(background, "--background"),
        backend=backend,
        device=device,
        threads=threads,
        trust_engine=trust_engine,
    )
