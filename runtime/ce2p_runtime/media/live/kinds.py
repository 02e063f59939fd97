"""What live sources have in common, and which kind a name means."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ...errors import ConfigError, MediaError
from .frame_queue import LivePolicy

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CAMERA = re.compile(r"\d{1,3}|/dev/video\d+")


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """How cameras, network streams and pipes are read. Raises ConfigError for values that mean nothing."""

    policy: str | None = None
    """`every`, `latest` or `max-age=SECONDS`; None: `every` for pipes and recordings, `latest` for what is live."""
    raw: str | None = None
    """For a pipe of bare pixels: what they are, as in `bgr24:1920x1080@30`."""
    timeout: float = 10.0
    """Seconds without a word from a network or camera after which it counts as lost."""
    reconnect: float = 30.0
    """Seconds for which a lost stream or camera is tried again; 0: not at all, infinity: for ever."""
    stream_options: Mapping[str, str] = field(default_factory=dict)
    """FFmpeg's options by name, such as `rtsp_transport`: those that the kind of source knows, see `SCHEMES`."""

    def __post_init__(self) -> None:
        if self.policy is not None:
            LivePolicy.read(self.policy)
        if not 0 < self.timeout < float("inf"):
            raise ConfigError(f"--timeout: {self.timeout:g} seconds, expected more than 0")
        if not self.reconnect >= 0:
            raise ConfigError(f"--reconnect: {self.reconnect:g} seconds, expected 0 or more")


class OpenError(MediaError):
    """A live source that cannot be opened."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        """`final`: the other side said no, and will most likely say so again."""
        super().__init__(text)
        self.final = final


class LiveKind(Protocol):
    """One kind of live source: what it is called, how it is opened, and what its end means."""

    @property
    def name(self) -> str:
        """What messages call it: the address without passwords."""

    @property
    def stem(self) -> str:
        """What files of results are called after it."""

    @property
    def policy(self) -> str:
        """The policy where none is named."""

    @property
    def returns(self) -> bool:
        """Whether it can come back, so that its end is a loss; a pipe cannot."""

    @property
    def cure(self) -> str:
        """What to do where no video comes: the end of a line."""

    def open(self, av: Any, stopped: threading.Event) -> Any:
        """PyAV's input container. Raises OpenError, in one line without passwords."""

    def is_complete(self, container: Any) -> bool:
        """Whether this container has an end that is meant, as pipes and recordings have."""


def is_live(source: str | Path) -> bool:
    """Whether a name means a camera (`0`, `/dev/video0`), a network stream (an address) or standard input (`-`).

    A path object never does, and neither does a file or folder called `0`.
    """
    if not isinstance(source, str):
        return False
    if source == "-" or _URL.match(source):
        return True
    return bool(_CAMERA.fullmatch(source)) and not (Path(source).is_file() or Path(source).is_dir())


def check_option_names(given: Mapping[str, str], known: Mapping[str, str], what: str) -> None:
    """Raise ConfigError for an option that `what` does not have: FFmpeg takes a misspelt one without a word."""
    for name in given:
        if name not in known:
            raise ConfigError(
                f"--stream-option: {name!r} is not an option of {what}, expected one of {', '.join(sorted(known))}"
                if known
                else f"--stream-option: {what} has no options; leave out {name!r}"
            )


def opened(av: Any, name: str, opening: Callable[[], Any], cure: str) -> Any:
    """What `opening()` returns. Raises OpenError for PyAV's errors, whose own text would show passwords."""
    try:
        return opening()
    except MediaError as error:  # one of ours, from where FFmpeg asked for a playlist's part
        raise OpenError(str(error)) from None
    except av.error.HTTPClientError as error:
        words = {401: "it wants a user name and a password", 403: "access is refused", 404: "nothing has this name"}
        code = _status(av, error)
        raise OpenError(f"{name}: {words.get(code, error.strerror)} ({code}); check the address", final=True) from None
    except av.error.ExitError:
        raise OpenError(f"{name}: no answer in time, expected video; {cure}") from None
    except av.error.ProtocolNotFoundError:
        raise OpenError(f"{name}: this PyAV's FFmpeg has no such protocol; {cure}", final=True) from None
    except (av.error.FFmpegError, OSError) as error:
        raise OpenError(f"{name}: cannot be opened ({error.strerror or type(error).__name__}); {cure}") from None


def _status(av: Any, error: Exception) -> int:
    kinds = {
        "HTTPBadRequestError": 400,
        "HTTPUnauthorizedError": 401,
        "HTTPForbiddenError": 403,
        "HTTPNotFoundError": 404,
    }
    return next((code for kind, code in kinds.items() if isinstance(error, getattr(av.error, kind))), 400)
