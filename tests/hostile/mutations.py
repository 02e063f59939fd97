"""Damaged versions of a file, drawn from a seed: what disks, networks and attackers do to bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

__all__ = ["mutations"]

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Values that lengths, counts and sizes are set to, in both byte orders."""


def mutations(data: bytes, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` damaged versions of `data`, each with a name that tells seed, number and kind of damage.

    The same arguments give the same bytes. A version may be equal to the original where the damage met equal bytes.
    """
    kinds = list(_KINDS)
    for number in range(count):
        draw = random.Random(f"{seed}:{number}")  # noqa: S311  (repeatable, not secret)
        kind = kinds[number % len(kinds)]
        yield f"seed {seed}, case {number}, {kind}", _KINDS[kind](data, draw)


def _flip_bits(data: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def _flip_head(data: bytes, draw: random.Random) -> bytes:
    """Headers are short and rarely hit otherwise."""
    head = min(len(data), 512)
    return _flip_bits(data[:head], draw) + data[head:]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _zero_block(data: bytes, draw: random.Random) -> bytes:
    start, end = _block(data, draw)
    return data[:start] + bytes(end - start) + data[end:]


def _double_block(data: bytes, draw: random.Random) -> bytes:
    start, end = _block(data, draw)
    return data[:end] + data[start:end] + data[end:]


def _drop_block(data: bytes, draw: random.Random) -> bytes:
    start, end = _block(data, draw)
    return data[:start] + data[end:]


def _swap_blocks(data: bytes, draw: random.Random) -> bytes:
    first, second = sorted((_block(data, draw), _block(data, draw)))
    if first[1] > second[0]:
        return _flip_bits(data, draw)
    return (
        data[: first[0]]
        + data[second[0] : second[1]]
        + data[first[1] : second[0]]
        + data[first[0] : first[1]]
        + data[second[1] :]
    )


def _noise_block(data: bytes, draw: random.Random) -> bytes:
    start, end = _block(data, draw)
    return data[:start] + draw.randbytes(end - start) + data[end:]


def _extreme_number(data: bytes, draw: random.Random) -> bytes:
    """A length or count that says too much."""
    width = draw.choice((1, 2, 4, 8))
    value = draw.choice(_EXTREMES) & (1 << 8 * width) - 1
    number = value.to_bytes(width, draw.choice(("little", "big")))
    # Half of them near the start, where most formats keep sizes.
    place = draw.randrange(min(len(data), 256) if draw.random() < 0.5 else len(data))
    return data[:place] + number + data[place + width :]


def _block(data: bytes, draw: random.Random) -> tuple[int, int]:
    """Start and end of a piece of at most a quarter of the file."""
    length = draw.randint(1, max(1, min(len(data) // 4, draw.choice((16, 188, 4096, 1 << 30)))))
    start = draw.randrange(max(1, len(data) - length))
    return start, start + length


_KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped bits": _flip_bits,
    "flipped bits in the head": _flip_head,
    "cut": _cut,
    "zeroed block": _zero_block,
    "doubled block": _double_block,
    "dropped block": _drop_block,
    "swapped blocks": _swap_blocks,
    "block of noise": _noise_block,
    "extreme number": _extreme_number,
}
