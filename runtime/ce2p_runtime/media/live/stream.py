"""Video over the network: RTSP, HTTP, HLS, UDP, TCP and RTMP, and nothing but the address that was named."""

from __future__ import annotations

import re
import threading
import urllib.parse
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ...errors import ConfigError
from ..containers import PLAIN_FORMATS
from ..pyav import open_arguments
from .hls import HLS_OPTIONS, SameHost
from .kinds import LiveOptions, check_option_names, opened
from .rtsp import refuse_redirect

_PROBING = {"analyzeduration": "microseconds of the stream to look at first", "probesize": "bytes to look at first"}
_HTTP = _PROBING | {
    "user_agent": "what to say we are",
    "headers": "further lines of the request, each ending in a line break",
    "cookies": "cookies to send",
    "listen": "1: wait for a sender that posts its stream",
}
_RTMP = _PROBING | {"rtmp_live": "live, recorded or any", "rtmp_buffer": "milliseconds", "listen": "1: wait"}
_RTSP = _PROBING | {
    "rtsp_transport": "tcp, udp, udp_multicast, http or https",
    "rtsp_flags": "listen: wait for a sender",
    "listen_timeout": "seconds to wait for a sender",
    "buffer_size": "bytes of a UDP socket",
    "max_delay": "microseconds to wait for packets out of order",
    "reorder_queue_size": "packets to keep for bringing them in order",
    "user_agent": "what to say we are",
}
_TCP = {"listen": "1: wait for a sender", "listen_timeout": "milliseconds", "tcp_nodelay": "1: send at once"}
_UDP = {
    "buffer_size": "bytes of the socket",
    "fifo_size": "packets of 188 bytes",
    "overrun_nonfatal": "1: go on where packets came faster than they were read",
    "localaddr": "address of the network card",
    "localport": "port to receive at",
    "reuse": "1: share the port",
    "sources": "senders to listen to",
    "pkt_size": "bytes of a packet",
}


@dataclass(frozen=True)
class Scheme:
    """How FFmpeg opens addresses that begin alike."""

    protocols: str
    """FFmpeg's protocols that it may use."""
    formats: str
    """What the content may be. Playlists, which name further addresses, are in none of them."""
    known: Mapping[str, str]
    """Options that users may set, and what they mean."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    in_query: bool = False
    """Whether what follows `?` are options of FFmpeg, and not the server's business."""


_CONTENT = f"mpjpeg,{PLAIN_FORMATS}"
# The shortest look at the stream: else a second of it arrives at once, late [measured: 1.2 s to open against 0.13 s].
_AT_ONCE = {"analyzeduration": "0", "probesize": "32"}
_RTSP_DEFAULTS = {"rtsp_transport": "tcp", **_AT_ONCE}

SCHEMES: dict[str, Scheme] = {
    "rtsp": Scheme("rtsp,tcp,udp,rtp,http", "rtsp", _RTSP, _RTSP_DEFAULTS),
    "rtsps": Scheme("rtsp,tls,tcp,udp,srtp,rtp", "rtsp", _RTSP, _RTSP_DEFAULTS),
    "http": Scheme("http,tcp", _CONTENT, _HTTP, {"max_redirects": "0"}),
    "https": Scheme("https,tls,tcp", _CONTENT, _HTTP, {"max_redirects": "0"}),
    "udp": Scheme("udp", _CONTENT, _PROBING | _UDP, {"overrun_nonfatal": "1"}, in_query=True),
    "tcp": Scheme("tcp", _CONTENT, _PROBING | _TCP, in_query=True),
    "rtmp": Scheme("rtmp,tcp", "flv,live_flv", _RTMP),
    "rtmps": Scheme("rtmps,tls,tcp", "flv,live_flv", _RTMP),
}
"""By the first part of an address. An address over HTTP whose path ends in .m3u8 is HLS, see `hls.py`."""

_INSTEAD = {
    "srt": "this PyAV's FFmpeg has no SRT; use a pipe: ffmpeg -i 'srt://...' -c copy -f mpegts - | ce2p parse - "
    "(or gst-launch-1.0 -q srtsrc uri='srt://...' ! fdsink | ce2p parse -)",
    "file": "is a file; name it without file://",
}


class NetworkStream:
    """One address. See `LiveKind`."""

    policy = "latest"
    returns = True

    def __init__(self, address: str, options: LiveOptions) -> None:
        """Raises ConfigError for schemes and options that are not known."""
        self._address, self._timeout = address, options.timeout
        parts = urllib.parse.urlsplit(address)
        self.name = _without_secrets(parts)
        """Scheme, host and path: neither user and password nor what stands behind `?` or `#`."""
        scheme = parts.scheme.lower()
        if scheme not in SCHEMES:
            instead = _INSTEAD.get(scheme, f"scheme {scheme!r}, expected one of {', '.join(SCHEMES)}")
            raise ConfigError(f"{self.name}: {instead}")
        self._scheme = SCHEMES[scheme]
        self.is_hls = scheme in ("http", "https") and parts.path.lower().endswith(".m3u8")
        self.stem = re.sub(r"[^0-9A-Za-z-]+", "_", self.name.partition("://")[2]).strip("_")[:80] or scheme
        check_option_names(options.stream_options, self._scheme.known, f"{scheme}://")
        if self._scheme.in_query:
            check_option_names(dict(urllib.parse.parse_qsl(parts.query)), self._scheme.known, f"{scheme}://")
        self._options = {**self._scheme.defaults, **options.stream_options}
        redirects = "max_redirects" in self._options and not self.is_hls
        self.cure = "check the address, and that the sender runs" + redirects * (
            "; where it leads to another one, name that: redirects are not followed"
        )

    def open(self, av: Any, stopped: threading.Event) -> Any:
        """See `LiveKind`."""
        if self.is_hls:
            hosts = SameHost(self._address, self.name, self._timeout, self._options)
            return opened(av, self.name, lambda: self._open(av, HLS_OPTIONS, io_open=hosts.open), self.cure)
        if self._scheme.formats == "rtsp" and "listen" not in self._options.get("rtsp_flags", ""):
            refuse_redirect(self._address, self.name, self._timeout)
        options = {
            "protocol_whitelist": self._scheme.protocols,
            "format_whitelist": self._scheme.formats,
            **self._options,
        }
        return opened(av, self.name, lambda: self._open_with_size(av, options), self.cure)

    def is_complete(self, container: Any) -> bool:
        """A recording has an end: what a web server says the length of, and a playlist that is closed."""
        return bool((container.size or 0) > 0 or (self.is_hls and container.duration))

    def _open(self, av: Any, options: Mapping[str, str], **more: Any) -> Any:
        timeout = (self._timeout, self._timeout)
        return av.open(self._address, options=dict(options), timeout=timeout, **more, **open_arguments(av))

    def _open_with_size(self, av: Any, options: Mapping[str, str]) -> Any:
        """With the shortest look at the stream, if that tells the size of the pictures."""
        if options.items() >= _AT_ONCE.items():
            with suppress(av.error.InvalidDataError):
                container = self._open(av, options)
                if container.streams.video and container.streams.video[0].codec_context.width:
                    return container
                container.close()
            # Codecs other than H.264 may need a longer look.
            options = {name: value for name, value in options.items() if name not in _AT_ONCE}
        return self._open(av, options)


def _without_secrets(parts: urllib.parse.SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
