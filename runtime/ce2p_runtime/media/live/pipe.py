"""Video on standard input: any container that can be read from the front, y4m, or bare pixels."""

from __future__ import annotations

import os
import re
import select
import sys
import threading
from fractions import Fraction
from typing import Any

from ...errors import ConfigError
from ..containers import PLAIN_FORMATS
from ..pyav import open_arguments
from .kinds import LiveOptions, OpenError, check_option_names, opened

_RAW = re.compile(r"(?P<pixels>[0-9a-z_]+):(?P<width>\d{1,5})x(?P<height>\d{1,5})@(?P<rate>\d+(\.\d+|/\d+)?)")
_LONGEST_SIDE = 8192
_POLL = 0.1
"""Seconds between looks at whether to stop."""


class RawFormat:
    """What the bytes of bare pixels mean: `bgr24:1920x1080@30`, a pixel format of FFmpeg, width, height and rate."""

    def __init__(self, text: str) -> None:
        """Raises ConfigError."""
        found = _RAW.fullmatch(text)
        size = (int(found["width"]), int(found["height"])) if found else (0, 0)
        try:
            rate = Fraction(found["rate"]) if found else Fraction(0)
        except ZeroDivisionError:
            rate = Fraction(0)
        if found is None or min(size) < 1 or rate <= 0 or max(size) > _LONGEST_SIDE:
            raise ConfigError(
                f"--raw: {text!r}, expected PIXELS:WIDTHxHEIGHT@RATE such as bgr24:1920x1080@30, at most "
                f"{_LONGEST_SIDE} pixels a side"
            )
        self.pixels = found["pixels"]
        self.options = {
            "pixel_format": self.pixels,
            "video_size": f"{size[0]}x{size[1]}",
            "framerate": f"{rate.numerator}/{rate.denominator}",
        }


class Pipe:
    """Standard input. See `LiveKind`."""

    name = "standard input"
    stem = "stdin"
    policy = "every"
    returns = False
    cure = "expected a whole video in MPEG-TS, Matroska, y4m, fragmented MP4 or with --raw"

    def __init__(self, options: LiveOptions) -> None:
        """Raises ConfigError for options that mean nothing here."""
        check_option_names(options.stream_options, {}, self.name)
        self._raw = None if options.raw is None else RawFormat(options.raw)

    def open(self, av: Any, stopped: threading.Event) -> Any:
        """See `LiveKind`."""
        if sys.stdin is None or sys.stdin.isatty():
            raise OpenError(f"{self.name}: is a terminal, expected video; pipe some into it: ... | ce2p parse -")
        form, options = None, {"format_whitelist": PLAIN_FORMATS}
        if self._raw is not None:
            try:
                av.VideoFormat(self._raw.pixels)
            except ValueError:
                raise ConfigError(
                    f"--raw: FFmpeg has no pixel format {self._raw.pixels!r}; expected one such as bgr24, rgb24, "
                    "gray, nv12 or yuv420p"
                ) from None
            form, options = "rawvideo", self._raw.options
        file = _Descriptor(sys.stdin.fileno(), stopped)
        return opened(
            av, self.name, lambda: av.open(file, format=form, options=options, **open_arguments(av)), self.cure
        )

    def is_complete(self, container: Any) -> bool:
        """The writer decides where a pipe ends."""
        return True


class _Descriptor:
    """A file that gives what there is instead of waiting for all that was asked for, and ends when it is to stop."""

    def __init__(self, descriptor: int, stopped: threading.Event) -> None:
        self._descriptor, self._stopped = descriptor, stopped

    def read(self, size: int) -> bytes:
        while not self._stopped.is_set():
            # Windows cannot wait for pipes: there, stopping takes as long as the writer does.
            if sys.platform == "win32" or select.select([self._descriptor], [], [], _POLL)[0]:
                return os.read(self._descriptor, size)
        return b""
