"""Cameras of this machine, by number or device."""

from __future__ import annotations

import sys
import threading
from typing import Any

from ...errors import ConfigError
from ..pyav import open_arguments
from .kinds import LiveOptions, check_option_names, opened

_FORMATS = {"linux": "v4l2", "darwin": "avfoundation"}
_OPTIONS = {
    "video_size": "such as 1280x720",
    "framerate": "frames a second",
    "input_format": "such as mjpeg, without which many cameras are slow",
    "pixel_format": "such as yuyv422",
}


class Camera:
    """One camera. See `LiveKind`."""

    policy = "latest"
    returns = True

    def __init__(self, source: str, options: LiveOptions) -> None:
        """`source`: a number, or /dev/videoN. Raises ConfigError for options and systems that are not known."""
        if sys.platform not in _FORMATS:
            raise ConfigError(
                f"camera {source}: cameras are opened on Linux and macOS only; send its picture into a pipe: "
                "ffmpeg -f dshow -i video=NAME -f mpegts - | ce2p parse -"
            )
        check_option_names(options.stream_options, _OPTIONS, "cameras")
        number = source.removeprefix("/dev/video")
        self.name, self.stem, self._timeout = f"camera {number}", f"camera{number}", options.timeout
        self._device = f"/dev/video{number}" if sys.platform == "linux" else number
        self.cure = f"check that {self._device} is there and that no other program has it"
        self._options = dict(options.stream_options)

    def open(self, av: Any, stopped: threading.Event) -> Any:
        """See `LiveKind`."""

        def opening() -> Any:
            return av.open(
                self._device,
                format=_FORMATS[sys.platform],
                options=self._options,
                timeout=(self._timeout, self._timeout),
                **open_arguments(av),
            )

        return opened(av, self.name, opening, self.cure)

    def is_complete(self, container: Any) -> bool:
        """A camera has no end."""
        return False
