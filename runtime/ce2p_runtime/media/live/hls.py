"""HLS from the host that was named: playlist, key and segments are fetched here, and from nowhere else."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from ...errors import MediaError

# FFmpeg ends the whole process when it wants to use a connection again that is not its own.
HLS_OPTIONS = {
    "http_persistent": "0",
    "format_whitelist": "hls,mpegts,mov,aac",
    "protocol_whitelist": "http,https,tcp,tls",
}
"""FFmpeg's options for playlists whose addresses `SameHost` opens."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """None: a redirect is an error."""


class SameHost:
    """Opens addresses for FFmpeg, which asks for each one that a playlist names."""

    def __init__(self, address: str, name: str, timeout: float, options: Mapping[str, str]) -> None:
        self._named, self._name, self._timeout = urllib.parse.urlsplit(address), name, timeout
        headers = {"User-Agent": options.get("user_agent", "ce2p"), "Cookie": options.get("cookies", "")}
        for line in options.get("headers", "").splitlines():
            field, _, value = line.partition(":")
            headers[field.strip()] = value.strip()
        self._headers = {field: value for field, value in headers.items() if field and value}
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
        if self._named.username is not None:
            passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
            user, password = (urllib.parse.unquote(part or "") for part in (self._named.username, self._named.password))
            passwords.add_password(None, self._root, user, password, is_authenticated=True)
            self._opener.add_handler(urllib.request.HTTPBasicAuthHandler(passwords))

    @property
    def _root(self) -> str:
        return f"{self._named.scheme}://{self._named.netloc.rpartition('@')[2]}/"

    def open(self, url: str, flags: int, options: Mapping[str, str]) -> Any:
        """A file to read. Raises MediaError for other hosts and ports, redirects and encryption."""
        wanted = urllib.parse.urlsplit(url)
        place = wanted.netloc.rpartition("@")[2]
        if wanted.scheme.startswith("crypto"):
            raise MediaError(f"{self._name}: its segments are encrypted, which is not supported; use another stream")
        if flags != 1 or (wanted.scheme, place) != (self._named.scheme, self._named.netloc.rpartition("@")[2]):
            raise MediaError(
                f"{self._name}: names {wanted.scheme}://{place}, expected its own host and port; "
                "name that address itself if you trust it"
            )
        request = urllib.request.Request(  # noqa: S310  (the scheme is that of an address over HTTP)
            urllib.parse.urlunsplit(wanted._replace(netloc=place)), headers=self._headers
        )
        try:
            return self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            raise MediaError(f"{self._name}: the server answers {error.code} ({error.reason})") from None
        except (urllib.error.URLError, OSError) as error:
            raise MediaError(f"{self._name}: no answer ({getattr(error, 'reason', error)})") from None
