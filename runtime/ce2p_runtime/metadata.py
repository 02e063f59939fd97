"""The metadata that travels inside every exported model: all the runtime knows about a network.

The exporter writes one JSON document under the key `ce2p` of the ONNX `metadata_props`; the runtime reads it back
and needs nothing else. Unknown keys are kept out of the way in `extra`, so that an older runtime reads newer files.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import ModelFileError

__all__ = ["METADATA_KEY", "SCHEMA", "Geometry", "ModelMetadata", "Normalisation"]

METADATA_KEY = "ce2p"
SCHEMA = 1


@dataclass(frozen=True)
class Normalisation:
    """From uint8 pixels to network input: `(pixel * scale - mean) / std`, channel by channel."""

    colour_order: Literal["bgr", "rgb"]
    """Order of the channels in the network's input tensor. Frames handed to the runtime are always BGR."""
    scale: float
    """1/255 for networks trained on [0, 1] pixels, 1 for those trained on [0, 255]."""
    mean: tuple[float, float, float]
    """In tensor channel order, in units of the scaled pixel."""
    std: tuple[float, float, float]
    """In tensor channel order, in units of the scaled pixel."""


@dataclass(frozen=True)
class Geometry:
    """How a frame becomes the S×S input and how predictions return to the frame."""

    kind: Literal["affine", "resize"]
    """`affine`: keep the aspect ratio, pad with black. `resize`: stretch to the input size."""
    half_pixel: bool
    """Affine only. False: factor (S-1)/extent, corner pixels' centres meet (SCHP). True: factor S/extent (CE2P)."""
    centre: Literal["float", "int"]
    """Affine only. `int`: the box centre is truncated on the way back, as CE2P's evaluate.py stores it."""
    unwarp: Literal["logits", "labels"]
    """`logits`: warp every class's logits to the frame, then argmax. `labels`: argmax at S×S, then nearest pixel."""


@dataclass(frozen=True)
class ModelMetadata:
    """Everything about an exported network that its input and output tensors do not say by themselves."""

    family: str
    dataset: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """RGB colour of each class."""
    flip_pairs: tuple[tuple[int, int], ...]
    """Classes that change places when the picture is mirrored."""
    normalisation: Normalisation
    geometry: Geometry
    align_corners: bool
    """Convention of every bilinear interpolation, inside the network and from 1/4 resolution to S×S."""
    input_size: tuple[int, int]
    """(height, width) in pixels."""
    output_stride: int
    input_kind: Literal["float", "uint8"]
    """`float`: normalised [N, 3, H, W] of type `io`. `uint8`: BGR pixels [N, H, W, 3]."""
    output_kind: Literal["logits", "labels"]
    """`logits`: [N, C, H/4, W/4] of type `io`. `labels`: uint8 [N, H, W]."""
    precision: str
    weights: str
    """Where the weights come from: "trained", or "untrained (random, seed N)"."""
    edge: bool = False
    """Whether a second output `edge` ([N, 2, H/4, W/4] of type `io`) is present."""
    io: Literal["float32", "float16"] = "float32"
    """Type of a `float` input, of logits and of edge logits."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Provenance that the runtime only shows: folds, parent hash, tool versions, parity figures. Of these only `gate`
    decides about anything: see backends/gate_record.py."""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def to_json(self) -> str:
        """One JSON document with a `schema` number, ready for `metadata_props`."""
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelMetadata:
        """Read what `to_json` wrote. `source` names the file in errors. Raises ModelFileError."""
        try:
            fields = json.loads(text)
            schema = fields.pop("schema")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(
                f"{source}: its ce2p metadata is not readable ({error}); export the model again"
            ) from error
        if schema != SCHEMA:
            raise ModelFileError(
                f"{source}: metadata schema {schema}, this runtime reads {SCHEMA}; update ce2p or export again"
            )
        try:
            return cls(**_typed(fields))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"{source}: its ce2p metadata lacks or garbles a field ({error}); export again"
            ) from error


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    """Turn JSON lists and dicts back into the tuples and dataclasses of `ModelMetadata`; check what is relied on."""
    normalisation, geometry = dict(fields["normalisation"]), dict(fields["geometry"])
    for name in ("mean", "std"):
        normalisation[name] = tuple(float(value) for value in normalisation[name])
        if len(normalisation[name]) != 3:
            raise ValueError(f"{name} has {len(normalisation[name])} values, expected 3")
    fields["normalisation"] = Normalisation(**normalisation)
    fields["geometry"] = Geometry(**geometry)
    fields["class_names"] = tuple(str(name) for name in fields["class_names"])
    fields["palette"] = tuple((int(r), int(g), int(b)) for r, g, b in fields["palette"])
    fields["flip_pairs"] = tuple((int(a), int(b)) for a, b in fields["flip_pairs"])
    height, width = fields["input_size"]
    fields["input_size"] = (int(height), int(width))
    if not 2 <= len(fields["class_names"]) == len(fields["palette"]) <= 256:
        raise ValueError(f"{len(fields['class_names'])} class names with {len(fields['palette'])} palette colours")
    if fields.get("io", "float32") not in ("float32", "float16"):
        raise ValueError(f"io is {fields['io']!r}, expected float32 or float16")
    known = {f.name for f in dataclasses.fields(ModelMetadata)}
    fields["extra"] = {**fields.get("extra", {}), **{k: fields.pop(k) for k in list(fields) if k not in known}}
    return fields
