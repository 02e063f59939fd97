"""Results as JSON documents: every one says in `schema` what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ce2p_runtime.base.files import atomic_path


def json_text(document: dict[str, Any], kind: str) -> str:
    """A document as JSON; `kind` goes into its `schema`, as in "ce2p.parse/1"."""
    return json.dumps({"schema": f"ce2p.{kind}/1", **document}, indent=2) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing. Raises MediaError."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")
