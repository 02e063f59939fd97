"""The oldest versions that pyproject.toml allows, as constraints for pip.

    python tests/environments/oldest_versions.py > constraints.txt
    pip install -c constraints.txt ".[export,cpu,openvino,plots]"

They are read off pyproject.toml, so that a bound stands in one place and cannot be forgotten here. Free stay what only
the tests need (the extra `dev`), and what needs a GPU.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tomllib

__all__ = ["oldest_versions"]

_FREE = {"dev", "gpu", "tensorrt", "tensorrt-rtx"}

_LOWER_BOUND = re.compile(r"(?P<name>[\w.-]+)(\[[\w,]+\])?\s*>=\s*(?P<version>[\w.]+)")


def oldest_versions(pyproject: str) -> list[str]:
    """`["av==17", ...]`, sorted. Raises ValueError for a requirement without a lower bound, which nothing tests."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *(each for name in extras if name not in _FREE for each in extras[name])]
    found = set()
    for requirement in requirements:
        if requirement.startswith(f"{project['name']}["):  # an extra that brings another one along
            continue
        bound = _LOWER_BOUND.match(requirement)
        if bound is None:
            raise ValueError(f"{requirement}: no lower bound, expected one as in av>=17")
        found.add(f"{bound['name']}=={bound['version']}")
    return sorted(found)


if __name__ == "__main__":
    sys.stdout.write("\n".join(oldest_versions(Path("pyproject.toml").read_text("utf-8"))) + "\n")
