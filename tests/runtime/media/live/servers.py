"""A web server for streams, playlists and redirects, which counts what is asked of it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["served"]


@contextmanager
def served(
    pages: Mapping[str, tuple[str, bytes]], *, lengths: bool = False, promised: int = 0
) -> Iterator[tuple[str, list[str]]]:
    """A web server with these pages: its address, and the paths that were asked for. A page may be a redirect.

    `lengths`: whether it says how long pages are; `promised`: the length that it says instead of the true one.
    """
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            kind, body = pages.get(self.path.partition("?")[0], ("", b""))
            self.send_response(302 if kind == "redirect" else 200 if kind else 404)
            if kind == "redirect":
                self.send_header("Location", body.decode())
                body = b""
            self.send_header("Content-Type", kind or "text/plain")
            if lengths:
                self.send_header("Content-Length", str(promised or len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing: `asked` has it."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
