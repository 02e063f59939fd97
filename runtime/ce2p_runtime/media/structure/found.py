"""The result of following a container's boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Structure:
    """What the boxes of a media file tell."""

    problem: str | None = None
    """A clause that says where the file is cut or garbled; None when it is not or cannot be told."""
    packets: Mapping[int, int] = field(default_factory=dict)
    """How many packets with data each stream holds, by its index; streams that cannot be counted are absent."""
    exact: bool = False
    """Whether `packets` are exact; otherwise there are so many at least."""
    partial: frozenset[int] = frozenset()
    """Streams of which an edit list shows a part only, or a part twice, so that their packets cannot be counted."""
    fragmented: bool = False
    """MP4: its index is spread over the file, so that the one at the start does not count all frames."""
