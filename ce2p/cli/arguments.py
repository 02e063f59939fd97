"""Two conveniences of the command line that its parser lacks: `--imgsz 473 353` and `--json` without a file name."""

from __future__ import annotations

from collections.abc import Sequence

from ce2p.errors import ConfigError

__all__ = ["batch_size", "batch_sizes", "image_size", "normalised"]


def normalised(arguments: Sequence[str]) -> list[str]:
    """Rewrite `--imgsz H W` as `--imgsz HxW`, and a bare `--json` as `--json -` (standard output)."""
    result: list[str] = []
    for argument in arguments:
        if result[-2:-1] == ["--imgsz"] and result[-1].isdigit() and argument.isdigit():
            result[-1] += f"x{argument}"
            continue
        if result[-1:] == ["--json"] and argument.startswith("-") and argument != "-":
            result.append("-")
        result.append(argument)
    return [*result, "-"] if result[-1:] == ["--json"] else result


def image_size(text: str, option: str = "--imgsz") -> tuple[int, int]:
    """`473` or `473x353` (height x width) -> (height, width) in pixels. Raises ConfigError."""
    parts = text.lower().replace(",", "x").split("x")
    if len(parts) > 2 or not all(part.isdigit() for part in parts):
        raise ConfigError(f"{option} {text}: expected one side or height and width in pixels, e.g. 473 or 473 353")
    return int(parts[0]), int(parts[-1])


def batch_size(text: str) -> int | None:
    """`4` -> 4; `dynamic`, or several sizes as `1,4,16`, -> None: a dynamic batch. Raises ConfigError."""
    sizes = text.split(",")
    if text == "dynamic":
        return None
    if not all(size.isdigit() and int(size) > 0 for size in sizes):
        raise ConfigError(f"--batch {text}: expected a number, several as 1,4,16, or dynamic")
    return int(sizes[0]) if len(sizes) == 1 else None


def batch_sizes(text: str | None) -> tuple[int, ...] | None:
    """`1,4,16` -> (1, 4, 16): the sizes an engine is built for; None stays None. Raises ConfigError."""
    if text is None:
        return None
    if text == "dynamic":
        raise ConfigError("--batch dynamic: an engine is built for stated sizes, e.g. --batch 1,4,16")
    batch_size(text)
    return tuple(int(size) for size in text.split(","))
