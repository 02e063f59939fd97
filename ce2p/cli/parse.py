"""`ce2p parse`: its options, and the front door's parsing with its progress, report and JSON. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .ignored_options import PARSE, refuse_ignored
from .options import Backend, Json, Opacity, Overwrite, Threads, TrustEngine

if TYPE_CHECKING:  # it loads NumPy and OpenCV, which the help of a command does without
    from ce2p.api.parse import Parsed


def parse(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="Picture, folder (with its sub-folders; `folder/*` without them), glob (quoted) or video; camera (0), "
            "address of a stream (rtsp://, http://, udp://, ...), or - for video on standard input."
        ),
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
        bool, typer.Option("--whole-names", help="a.jpg_labels.png: keeps the results of a.jpg and a.png apart.")
    ] = False,
    labels: Annotated[
        Literal["palette", "grey"],
        typer.Option(help="Label PNGs: palette (coloured in viewers), or grey (pixel = class id to every reader)."),
    ] = "palette",
    classes: Annotated[
        str | None, typer.Option(help='Of the cut-out, e.g. "Upper-clothes,Coat". Default: all but the background.')
    ] = None,
    opacity: Opacity = 0.5,
    max_pixels: Annotated[int, typer.Option(min=1, help="Larger pictures are refused.")] = 50_000_000,
    background: Annotated[
        str, typer.Option(help="Colour behind transparent pictures, by name or as #rrggbb.")
    ] = "white",
    backend: Backend = "auto",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N; a device that is named must be there.")
    ] = "auto",
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    live: Annotated[
        str | None,
        typer.Option(
            help="Which frames of a camera, stream or pipe: every, latest (drops those that come while the network is "
            "busy) or max-age=SECONDS. Default: every for pipes and recordings, else latest."
        ),
    ] = None,
    raw: Annotated[
        str | None,
        typer.Option(metavar="PIXELS:WxH@RATE", help="Standard input is bare pixels, such as bgr24:1920x1080@30."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds without a word after which a camera or stream counts as lost.")
    ] = 10.0,
    reconnect: Annotated[
        float, typer.Option(help="Seconds for which a lost camera or stream is tried again; 0: never, inf: always.")
    ] = 30.0,
    stream_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="FFmpeg's option for a stream or camera, e.g. rtsp_transport=udp."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json: Json = None,
) -> None:
    """Parse pictures or a video: overlays, label maps, masks, cut-outs. Existing files stay without --overwrite."""
    from ce2p_runtime.media.live.kinds import LiveOptions

    from .arguments import colour, name_list, named_values

    refuse_ignored(context, PARSE)
    _run(
        source,
        model,
        json=json,
        overwrite=overwrite,
        quiet=quiet,
        output=output,
        save=name_list(save, "--save"),
        existing="skip" if skip_existing else "replace" if overwrite else "refuse",
        whole_names=whole_names,
        grey_labels=labels == "grey",
        classes=name_list(classes, "--classes") or (),
        opacity=opacity,
        max_pixels=max_pixels,
        background=colour(background, "--background"),
        backend=backend,
        device=device,
        threads=threads,
        trust_engine=trust_engine,
        live=LiveOptions(
            policy=live,
            raw=raw,
            timeout=timeout,
            reconnect=reconnect,
            stream_options=named_values(stream_option or [], "--stream-option"),
        ),
    )


def _run(source: str, model: Path, *, json: str | None, overwrite: bool, quiet: bool, **options: Any) -> None:
    """Parse and report, also after an interrupt; `options` are those of `ce2p.parse`.

    Raises ConfigError and CE2PRuntimeError; MediaError at the end where something could not be read.
    """
    from ce2p.api.parse import parse as parse_source

    from .console import quietly, remark, step_bars, write_json
    from .preflight import check_json

    with quietly(quiet):
        check_json(json, [source, model], overwrite)
        ended: list[Parsed] = []
        try:
            with step_bars("frames") as progress:
                ended.append(parse_source(source, model, progress=progress, on_interrupt=ended.append, **options))
        finally:
            for parsed in ended:
                if json:
                    write_json(parsed.to_dict(), json, "parse")
                if json != "-":
                    _report(parsed)
        for problem in ended[0].problems[1:]:
            remark(f"also: {problem}")
        ended[0].require()


def _report(parsed: Parsed) -> None:
    from .console import say

    total = f" of {parsed.expected}" if parsed.interrupted and parsed.expected else ""
    unit = "frame" if parsed.parsed == 1 and not total else "frames"
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in parsed.median_ms.items())
    times = f" (median ms per frame: {stages})" if stages else ""
    early = "interrupted: " if parsed.interrupted else ""
    if parsed.done_before:
        say(f"{parsed.done_before} had all their results in {parsed.where} before")
    if parsed.parsed or parsed.interrupted or not (parsed.done_before or parsed.problems):
        say(f"{early}parsed {parsed.parsed}{total} {unit} to {parsed.where}{times}")
    if parsed.ledger is not None:
        say(str(parsed.ledger))
    if parsed.frames_with_class:
        say(f"found: {', '.join(parsed.frames_with_class)}")
