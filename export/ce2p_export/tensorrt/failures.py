"""TensorRT's many lines about a failure, turned into one: what, where, why, and the cure where we know one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ce2p.errors import CE2PError

_CURES = (
    (
        r"zero.?point|asymmetric|uint8 quantization|UINT8 is not supported",
        "TensorRT takes symmetric int8 only (zero point 0); quantise for TensorRT, not for a CPU",
    ),
    (r"OutOfMemory|out of memory|insufficient (workspace|memory)|workspace", "allow more with --workspace GIB"),
    (r"No importer registered|unsupported.?node|Plugin not found|checkFallbackPluginImporter", "export it with ce2p"),
    (r"libnvinfer_lean", "install tensorrt-lean of the same version, or build without --version-compatible"),
    (r"Could not create the plugin", "the plugin of this op failed; --no-plugins builds without it"),
    (r"Failed to parse|ModelProto|Protobuf", "the file is damaged; copy or export it again"),
)


def parse_failure(path: Path, errors: Sequence[Any], messages: Sequence[str]) -> str:
    """One line from a parser's IParserErrors; `messages` is what else TensorRT said."""
    if not errors:
        return _line(path, "TensorRT does not read it", " ".join(messages[-1:]) or "no reason given", messages)
    error = errors[0]
    operator, name = error.node_operator(), error.node_name()
    where = f" at node {name or error.node()} ({operator})" if operator else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return _line(path, f"TensorRT does not read it{where}", error.desc() + more, messages)


def build_failure(path: Path, messages: Sequence[str]) -> str:
    """One line from the errors TensorRT logged before it returned no plan."""
    if not messages:
        why = "and its reasons went to another library of this process"
        return f"{path}: TensorRT built nothing, {why}; build in a process of its own"
    # The first error is the cause; the ones after it say that its caller failed.
    return _line(path, "TensorRT does not build it", messages[0], messages)


def _line(path: Path, what: str, reason: str, messages: Sequence[str]) -> str:
    everything = "\n".join((reason, *messages))
    cure = next((cure for pattern, cure in _CURES if re.search(pattern, everything, re.IGNORECASE)), None)
    return f"{path}: {what}: {readable(reason)}" + (f"; {cure}" if cure else "")


def readable(text: str) -> str:
    """A message of TensorRT without the places in its own source, in one line of at most 400 characters."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"^\[\w+\.cpp::\w+::\d+\] ", "", text)
    text = re.sub(r" \[\w+\.cpp::\w+::\d+\].*", "", text)  # what else went wrong meanwhile
    text = re.sub(r"\.? In \w+ at /\S+:\d+", "", text)
    return text.strip().rstrip(".;")[:400]


class EngineError(CE2PError):
    """TensorRT is not usable here, or refuses a file or a setting."""
