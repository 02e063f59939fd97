"""The JSON beside a TensorRT engine: what the plan is, what it needs, and everything the runtime must know to use it.

A plan is machine code for one TensorRT version and one GPU, and loading it runs what is inside. So it is loaded only
when the sidecar that the exporter wrote beside it names its hash, or when the user says to trust it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ModelFileError
from .metadata import ModelMetadata

__all__ = ["ENGINE_SUFFIXES", "EngineSidecar", "Profile", "file_sha256", "read_sidecar", "sidecar_path"]

SCHEMA = 1
ENGINE_SUFFIXES = (".engine", ".plan", ".trt")


@dataclass(frozen=True)
class Profile:
    """Batch sizes one optimisation profile was built for."""

    minimum: int
    optimum: int
    maximum: int


@dataclass(frozen=True)
class EngineSidecar:
    """Everything about a plan file that the plan does not say by itself, or says only to its own TensorRT."""

    plan_sha256: str
    onnx_sha256: str
    """Of the ONNX file the engine was built from."""
    tensorrt: str
    """Full version, such as "11.4.0.106": plans load only under the same one."""
    architecture: str
    """Compute capability it was built on, "sm_90"; "none" for a build without a GPU, which cannot run."""
    hardware_compatibility: str
    """"none", "ampere_plus" or "same_compute_capability"."""
    version_compatible: bool
    precision: str
    profiles: tuple[Profile, ...]
    plugins: tuple[str, ...]
    """Our ops that are inside as plugins: "CE2PEdgeFusion", ..."""
    kernels: dict[str, str]
    """File name beside the engine -> sha256, of the PTX the runtime uses around the network; may be empty."""
    metadata: ModelMetadata
    build: dict[str, Any] = field(default_factory=dict)
    """Settings, seconds and the layer summary of the build, for people."""

    def to_json(self) -> str:
        """The document written beside the plan."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["metadata"] = json.loads(self.metadata.to_json())
        fields["profiles"] = [dataclasses.asdict(profile) for profile in self.profiles]
        return json.dumps({"schema": SCHEMA, **fields}, indent=1)


def sidecar_path(engine: Path) -> Path:
    """`x.engine` -> `x.engine.json`."""
    return engine.with_name(engine.name + ".json")


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(path)


def _digest(path: Path) -> str:
    # Python 3.10 has no hashlib.file_digest.
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_sidecar(engine: Path) -> EngineSidecar:
    """The sidecar of an engine. Raises ModelFileError when either is missing or the sidecar not readable."""
    if not engine.is_file():
        found = "a folder" if engine.is_dir() else "no such file"
        raise ModelFileError(f"{engine}: {found}, expected an engine made by `ce2p export --format engine`")
    path = sidecar_path(engine)
    if not path.is_file():
        raise ModelFileError(
            f"{engine}: {path.name} is not beside it; copy both files that `ce2p export --format engine` wrote"
        )
    try:
        fields = json.loads(path.read_text())
        schema = fields.pop("schema")
        if schema != SCHEMA:
            raise ModelFileError(f"{path}: schema {schema}, this runtime reads {SCHEMA}; build the engine again")
        fields["metadata"] = ModelMetadata.from_json(json.dumps(fields["metadata"]), str(path))
        fields["profiles"] = tuple(Profile(**profile) for profile in fields["profiles"])
        fields["plugins"] = tuple(fields["plugins"])
        return EngineSidecar(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path}: not readable ({error}); build the engine again") from error
