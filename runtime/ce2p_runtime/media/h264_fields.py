"""Tell from an H.264 slice whether it belongs to a single field, of which two make a picture.

Broadcasts send the fields of interlaced pictures in packets of their own (PAFF); the decoder gives one frame for two.
The flag stands behind fields whose widths the parameter sets define (ITU-T H.264, 7.3.2.1, 7.3.2.2 and 7.3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

from .bits import Bits

_WITH_CHROMA_FORMAT = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
_MAX_SETS = 256  # of each kind, by the standard


@dataclass(frozen=True)
class _Sequence:
    frame_number_bits: int
    separate_planes: bool
    frames_only: bool


class FieldReader:
    """Knows the parameter sets seen so far."""

    def __init__(self) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, int] = {}  # number of the sequence parameter set of each picture parameter set

    def learn(self, unit: bytes) -> None:
        """Remember a parameter set, given as a unit with its one-byte header; garbled ones are left out."""
        bits = Bits(_plain(unit[1:]))
        try:
            if unit[0] & 0x1F == 7:
                number, sequence = _read_sequence(bits)
                if number < _MAX_SETS:
                    self._sequences[number] = sequence
            elif unit[0] & 0x1F == 8:
                picture, number = bits.golomb(), bits.golomb()
                if picture < _MAX_SETS:
                    self._pictures[picture] = number
        except IndexError:
            return

    def is_field(self, unit: bytes) -> bool:
        """Whether a unit is a slice of a single field. Raises IndexError when it is too short."""
        if unit[0] & 0x1F not in (1, 2, 5):
            return False
        bits = Bits(_plain(unit[1:]))
        bits.golomb()  # first macroblock
        bits.golomb()  # kind of slice
        sequence = self._sequences.get(self._pictures.get(bits.golomb(), -1))
        if sequence is None or sequence.frames_only:
            return False
        bits.take(2 * sequence.separate_planes + sequence.frame_number_bits)
        return bool(bits.take(1))


def _plain(unit: bytes) -> bytes:
    """Without the bytes that keep start codes from appearing inside a unit."""
    return unit.replace(b"\0\0\3", b"\0\0")


def _read_sequence(bits: Bits) -> tuple[int, _Sequence]:
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    number = bits.golomb()
    separate = False
    if profile in _WITH_CHROMA_FORMAT:
        chroma = bits.golomb()
        separate = chroma == 3 and bool(bits.take(1))
        bits.golomb()  # bits of luma
        bits.golomb()  # bits of chroma
        bits.take(1)
        if bits.take(1):
            for index in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    frame_number_bits = bits.golomb() + 4
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()  # reference frames
    bits.take(1)
    bits.golomb()  # width
    bits.golomb()  # height
    return number, _Sequence(frame_number_bits, separate, bool(bits.take(1)))


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            delta = (code + 1) // 2 if code % 2 else -(code // 2)
            following = (last + delta) % 256
        last = following or last
