"""The JSON beside a TensorRT engine: what the plan is, what it needs, and everything the runtime must know to use it.

A plan is machine code for one TensorRT version and one GPU, and loading it runs what is inside. So it is loaded only
when the sidecar that the exporter wrote beside it names its hash, or when the user says to trust it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..base.bounded_json import read_json
from ..base.typed_json import Fields, is_text
from ..errors import ModelFileError
from ..precisions import PRECISIONS
from .metadata import MOST_BATCH, ModelMetadata

SCHEMA = 1
ENGINE_SUFFIXES = (".engine", ".plan", ".trt")
_MOST_BYTES = 1 << 24
"""Of a sidecar; a build writes some ten thousand."""
_MOST_PROFILES = 64
"""Batch sizes, and plugins, of one engine."""


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
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes, expected at most {_MOST_BYTES:,}")
        fields = Fields(read_json(path.read_bytes(), what="it"))
        schema = fields.rest().pop("schema", None)
        if schema != SCHEMA:
            raise ModelFileError(f"{path}: schema {schema!r:.40}, this runtime reads {SCHEMA}; build the engine again")
        return _checked(fields, str(path))
    except (ValueError, OSError) as error:
        raise ModelFileError(f"{path}: not readable ({error}); build the engine again") from error


def _checked(fields: Fields, source: str) -> EngineSidecar:
    """Every field of `EngineSidecar` from its JSON form. Raises ValueError, and ModelFileError for the metadata."""
    kernels = fields.members("kernels")
    if any(name != Path(name).name for name in kernels):
        raise ValueError("kernels are named in another folder")
    if not all(map(is_text, (*kernels, *kernels.values()))):
        raise ValueError("kernels are no files beside the engine with their hashes")
    sidecar = EngineSidecar(
        plan_sha256=fields.text("plan_sha256"),
        onnx_sha256=fields.text("onnx_sha256"),
        tensorrt=fields.text("tensorrt"),
        architecture=fields.text("architecture"),
        hardware_compatibility=fields.choice(
            "hardware_compatibility", ("none", "ampere_plus", "same_compute_capability")
        ),
        version_compatible=fields.flag("version_compatible"),
        precision=fields.choice("precision", tuple(PRECISIONS)),
        profiles=tuple(_profile(Fields(item, "profiles.")) for item in fields.items("profiles", _MOST_PROFILES)),
        plugins=tuple(fields.texts("plugins", _MOST_PROFILES)),
        kernels=kernels,
        metadata=ModelMetadata.from_document(fields.members("metadata"), source),
        build=fields.members("build", {}),
    )
    if fields.rest():
        raise ValueError(f"unknown fields {', '.join(map(ascii, fields.rest())):.80}")
    return sidecar


def _profile(fields: Fields) -> Profile:
    low, best, high = (fields.integer(name, 1, MOST_BATCH) for name in ("minimum", "optimum", "maximum"))
    if not low <= best <= high:
        raise ValueError(f"a profile of {low}, {best}, {high}, expected them in this order")
    return Profile(low, best, high)
