"""Look into compressed packets as far as it takes to say whether one of them should have given a picture.

Encoders send packets without a picture of their own: frames that are only referred to (VP8; VP9 and AV1 put them into
one packet with the next that is shown), parameter sets, repeats, the second field of an interlaced picture. A packet
without a picture that is none of these was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .bits import Bits
from .h264_fields import FieldReader

_SHORT_VOP = 9
"""Bytes of an MPEG-4 picture that says "as before": start code, time and a bit; a coded one would be longer."""


class PacketContents:
    """The packets of one video stream, read in the order they are decoded in.

    `codec`: FFmpeg's canonical name of the codec. `extradata`: what the container holds for the decoder beforehand.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self.known = codec in _HIDES or codec in _UNITS or codec in _ONE_PICTURE_EACH
        """Whether all packets of this codec that give no picture can be told from lost ones."""
        self._codec = codec
        self._fields = FieldReader() if codec == "h264" else None
        self._length_size = _length_size(codec, extradata)
        if self._fields is not None and extradata:
            for unit in _parameter_sets(extradata) if self._length_size else _units(extradata, 0):
                self._fields.learn(unit)

    def learn(self, packet: bytes) -> None:
        """Take from a packet what later ones need to be understood; call for every packet."""
        # Where units have lengths, parameter sets come beforehand, and fields share a packet.
        if self._fields is not None and not self._length_size and any(start in packet for start in _SEQUENCE_STARTS):
            for unit in _units(packet, 0):
                self._fields.learn(unit)

    def hides_picture(self, packet: bytes) -> bool:
        """Whether a packet holds no picture that is to be shown."""
        hides = _HIDES.get(self._codec)
        try:
            if self._codec in _UNITS:
                units = list(_units(packet, self._length_size))
                return bool(units) and all(_is_extra(self._codec, unit) for unit in units)
            return hides is not None and hides(packet)
        except (IndexError, ValueError):  # garbled: no excuse
            return False

    def is_field(self, packet: bytes) -> bool:
        """Whether a packet holds one field, of which two make a picture (H.264 in separate packets)."""
        if self._fields is None:
            return False
        try:
            return any(self._fields.is_field(unit) for unit in _units(packet, self._length_size))
        except (IndexError, ValueError):
            return False

    def may_lead(self, packet: bytes) -> bool:
        """Whether a packet's picture may refer to pictures in front of the first keyframe that lies before it."""
        try:
            units = list(_units(packet, self._length_size))
            if self._codec == "hevc":
                return any(unit[0] >> 1 & 0x3F in (8, 9) for unit in units)
            if self._codec == "h264":
                return any(unit[0] & 0x1F == 1 and _slice_type(unit) == 1 for unit in units)
            if self._codec == "mpeg4":
                return packet[packet.index(b"\0\0\1\xb6") + 4] >> 6 == 2
            return self._codec in ("mpeg1video", "mpeg2video") and packet[packet.index(b"\0\0\1\0") + 5] >> 3 & 7 == 3
        except (IndexError, ValueError):
            return False


def _length_size(codec: str, extradata: bytes) -> int:
    """Bytes of the length in front of each unit, as in MP4 and Matroska; 0 for start codes."""
    if codec == "h264" and len(extradata) > 6 and extradata[0] == 1:
        return 1 + (extradata[4] & 3)
    if codec == "hevc" and len(extradata) > 22 and (extradata[0] or extradata[1] or extradata[2] > 1):
        return 1 + (extradata[21] & 3)
    return 0


def _parameter_sets(extradata: bytes) -> Iterator[bytes]:
    """The parameter sets in an `avcC` box."""
    at, count = 6, extradata[5] & 0x1F
    for _ in range(2):
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            if size and at + 2 + size <= len(extradata):
                yield extradata[at + 2 : at + 2 + size]
            at += 2 + size
        count = extradata[at] if at < len(extradata) else 0
        at += 1


def _units(packet: bytes, length_size: int) -> Iterator[bytes]:
    """The units of an H.264 or HEVC packet, each cut to what is needed of it."""
    at = 0
    if length_size:
        while at + length_size < len(packet):
            size = int.from_bytes(packet[at : at + length_size], "big")
            at += length_size
            if size:
                yield packet[at : at + min(size, 256)]
            at += size
        return
    while (at := packet.find(b"\0\0\1", at)) >= 0 and at + 3 < len(packet):
        at += 3
        yield packet[at : at + 256]


def _is_extra(codec: str, unit: bytes) -> bool:
    """Whether a unit is a parameter set, a message, a delimiter or padding."""
    return unit[0] & 0x9F in range(6, 14) if codec == "h264" else unit[0] >> 1 in range(32, 41)


def _slice_type(unit: bytes) -> int:
    """0 P, 1 B, 2 I."""
    bits = Bits(unit[1:])
    bits.golomb()
    return bits.golomb() % 5


def _vp8_hides(packet: bytes) -> bool:
    return not packet[0] >> 4 & 1


def _av1_hides(packet: bytes) -> bool:
    """Whether a temporal unit has no frame at all: one of those in it is always shown."""
    at = 0
    while at < len(packet):
        kind, extended, sized = packet[at] >> 3, packet[at] >> 2 & 1, packet[at] >> 1 & 1
        if kind not in (1, 2, 5, 8, 15):  # sequence, delimiter, metadata, tile list, padding
            return False
        at += 1 + extended
        size = len(packet) - at
        if sized:
            size, at = _leb128(packet, at)
        at += size
    return True


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 56, 7):
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            break
    return value, at


def _mpeg4_hides(packet: bytes) -> bool:
    at = packet.find(b"\0\0\1\xb6")
    if at < 0:
        return packet.startswith(b"\0\0\1")
    return packet[at + 4] >> 6 == 1 and len(packet) - at <= _SHORT_VOP


def _mpeg2_hides(packet: bytes) -> bool:
    return packet.startswith(b"\0\0\1") and b"\0\0\1\0" not in packet


_HIDES: dict[str, Callable[[bytes], bool]] = {
    "vp8": _vp8_hides,
    "av1": _av1_hides,
    "mpeg4": _mpeg4_hides,
    "mpeg1video": _mpeg2_hides,
    "mpeg2video": _mpeg2_hides,
}
_UNITS = {"h264", "hevc"}
_SEQUENCE_STARTS = (b"\0\0\1\x67", b"\0\0\1\x47", b"\0\0\1\x27")
_ONE_PICTURE_EACH = {
    "mjpeg",
    "ffv1",
    "prores",
    "dnxhd",
    "huffyuv",
    "ffvhuff",
    "utvideo",
    "rawvideo",
    "dvvideo",
    "png",
    "qtrle",
    "vp9",
    "svq1",
    "magicyuv",
    "h263",
    "h263p",
    "flv1",
    "msmpeg4v1",
    "msmpeg4v2",
    "msmpeg4v3",
    "wmv1",
    "wmv2",
    "cinepak",
}
