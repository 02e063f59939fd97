"""Where parsed frames go: overlays, label maps, masks and cut-outs, as pictures or as video."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..base.leftovers import temporary_name
from ..errors import MediaError
from ..result import ParsingResult
from .result_names import SAVE_CHOICES, ResultNames
from .result_plan import ResultPlan, plan_results
from .sources import Source, SourceFrame
from .video_sink import VideoSink

__all__ = ["SAVE_CHOICES", "PictureSink", "ResultStyle", "VideoSink", "open_sink", "sink_for"]


@dataclass(frozen=True)
class ResultStyle:
    """What results look like."""

    opacity: float = 0.5
    """Of the overlay's colours."""
    grey_labels: bool = False
    """Label maps of pictures as grey PNG, whose pixels every reader takes for class ids, instead of with a palette."""
    classes: tuple[str, ...] = ()
    """What a cut-out shows; empty: everything but the background."""


class PictureSink(AbstractContextManager["PictureSink"]):
    """Writes what was planned for each picture, every file whole."""

    def __init__(self, targets: Mapping[Path, Mapping[str, Path]], style: ResultStyle) -> None:
        """`targets`: per picture the file of each kind of result, for masks a folder (see `ResultPlan`)."""
        self._targets, self._style = targets, style

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to finish: every picture is written whole when it comes."""

    def write(self, frame: SourceFrame, result: ParsingResult) -> None:
        """Write what was asked for. Raises MediaError."""
        for kind, target in self._targets[frame.path].items():
            if kind == "labels":
                result.save_labels(target, grey=self._style.grey_labels)
            elif kind == "overlay":
                result.save_overlay(target, frame.image, self._style.opacity)
            elif kind == "cutout":
                result.save_cutout(target, frame.image, *self._style.classes)
            else:
                _save_masks(target, result)


def _save_masks(target: Path, result: ParsingResult) -> None:
    """The folder of a picture's masks, which gets its name when it is complete. Raises MediaError."""
    temporary = target.with_name(temporary_name(target.name))
    # Class names come behind it, and a name has 255 bytes.
    stem = target.name.removesuffix("_masks").encode()[:180].decode("utf-8", "ignore")
    try:
        written = result.save_masks(temporary, stem)
        if target.is_dir():
            _replace_masks(target, stem, written)
        else:
            temporary.rename(target)
    except MediaError as error:
        raise MediaError(str(error).replace(str(temporary), str(target))) from error  # nobody asked for that one
    except OSError as error:
        raise MediaError(f"{target}: cannot be written ({error.strerror}); close or remove it first") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_masks(target: Path, stem: str, written: list[Path]) -> None:
    """Put new masks in the place of older ones, also of those whose classes no longer occur; other files stay."""
    names = {file.name for file in written}
    for old in target.glob(f"{glob.escape(stem)}_[0-9][0-9]_*.png"):
        if old.name not in names:
            old.unlink()
    for file in written:
        file.replace(target / file.name)


def sink_for(plan: ResultPlan, source: Source, style: ResultStyle) -> PictureSink | VideoSink:
    """The sink for what was planned. Raises MediaError."""
    if source.video is not None:
        return VideoSink(plan.targets[source.video.path], source, style.opacity, replace=plan.may_replace)
    return PictureSink(plan.targets, style)


def open_sink(folder: Path, source: Source, save: frozenset[str], opacity: float = 0.5) -> PictureSink | VideoSink:
    """The sink that fits a source, which replaces results that are there. `save` holds some of SAVE_CHOICES.

    Raises MediaError, also where a result would replace what is read.
    """
    targets = ResultNames(folder, source, save).of_all(source.files)
    return sink_for(plan_results(targets, "replace", source.files, folder), source, ResultStyle(opacity))
