"""Ask an RTSP server whether it sends on to another address, which FFmpeg would follow wherever that is."""

from __future__ import annotations

import socket
import ssl
import urllib.parse
from contextlib import suppress

from .kinds import OpenError

_PORTS = {"rtsp": 554, "rtsps": 322}
_LONGEST_ANSWER = 1 << 14


def refuse_redirect(address: str, name: str, timeout: float) -> None:
    """Raise OpenError for a server that answers with a redirect. `name`: the address in messages.

    A server that asks for a password first, or answers otherwise the second time, is not found out. What cannot be
    asked is left to FFmpeg, which says why.
    """
    parts = urllib.parse.urlsplit(address)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()]
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    question = f"DESCRIBE {urllib.parse.urlunsplit(plain)} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    answer = b""
    with suppress(OSError), socket.create_connection((host, port), timeout) as connection:
        stream = connection
        if parts.scheme.lower() == "rtsps":
            stream = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
        stream.sendall(question.encode())
        while b"\n" not in answer and len(answer) < _LONGEST_ANSWER and (piece := stream.recv(4096)):
            answer += piece
    status = answer.split(b"\n", 1)[0].split(b" ")
    if status[0].startswith(b"RTSP/") and status[1:2] and status[1].startswith(b"3"):
        raise OpenError(f"{name}: the server redirects to another address; name that one if you trust it", final=True)
