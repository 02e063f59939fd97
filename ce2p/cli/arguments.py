"""What the command line's parser lacks: `--imgsz 473 353`, `--json` without a file name, and values with a form."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ce2p.errors import ConfigError
from ce2p_runtime.precisions import LabelLimits


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


def number_list(text: str, option: str) -> tuple[int, ...]:
    """`1,4,16` -> (1, 4, 16), numbers from 1. Raises ConfigError."""
    numbers = text.split(",")
    if not all(number.isdigit() and int(number) > 0 for number in numbers):
        raise ConfigError(f"{option} {text}: expected numbers from 1, as 1,4,16")
    return tuple(int(number) for number in numbers)


def named_values(given: Sequence[str], option: str) -> dict[str, str]:
    """`["a=1", "b=2"]` -> {"a": "1", "b": "2"}. Raises ConfigError."""
    for text in given:
        if not text.partition("=")[1]:
            raise ConfigError(f"{option}: expected NAME=VALUE, such as {option} rtsp_transport=udp")
    return dict(text.split("=", 1) for text in given)


def name_list(text: str | None, option: str) -> tuple[str, ...] | None:
    """`overlay, labels` -> ("overlay", "labels"); None stays None. Raises ConfigError where it names nothing."""
    if text is None:
        return None
    names = tuple(filter(None, (name.strip() for name in text.split(","))))
    if not names:
        raise ConfigError(f"{option}: names nothing, expected one name or several, separated by commas")
    return names


def colour(text: str, option: str) -> tuple[int, int, int]:
    """`white`, `#808080` -> RGB, 0-255. Raises ConfigError."""
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise ConfigError(
            f"{option} {text}: expected a colour by its name or as #rrggbb, e.g. white or #808080"
        ) from None
    return red, green, blue


def gate_limits(texts: Sequence[str]) -> bool | dict[str, float]:
    """`pixel_agreement=0.995` and the like -> limits by name; nothing -> True; `off` -> False. Raises ConfigError."""
    if "off" in texts:
        if set(texts) != {"off"}:
            limits_given = ", ".join(text for text in texts if text != "off")
            raise ConfigError(f"--gate off: switches the gate off, so {limits_given} has no use; leave one of them out")
        return False
    names = [field.name for field in dataclasses.fields(LabelLimits)]
    limits = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            limits[name] = float(value)
        except ValueError:
            limits[name] = -1.0
        if name not in names or not 0 <= limits[name] <= 1:
            raise ConfigError(
                f"--gate {text}: expected off, or a limit from 0 to 1 as pixel_agreement=0.995; limits are "
                f"{', '.join(names)}"
            )
    return limits or True
