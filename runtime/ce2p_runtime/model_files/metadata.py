"""The metadata that travels inside every exported model: all the runtime knows about a network.

The exporter writes one JSON document under the key `ce2p` of the ONNX `metadata_props`; the runtime reads it back
and needs nothing else. Unknown keys are kept out of the way in `extra`, so that an older runtime reads newer files.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..base.bounded_json import read_json
from ..base.typed_json import Fields
from ..errors import ModelFileError
from ..precisions import PRECISIONS

InputKind = Literal["float", "uint8"]
OutputKind = Literal["logits", "labels"]
IoType = Literal["float32", "float16"]

METADATA_KEY = "ce2p"
SCHEMA = 1
MOST_CLASSES = 256
"""Labels are uint8."""
MOST_SIDE = 8192
"""Pixels of an input's side: a float32 input of 8192x8192 takes 768 MiB by itself."""
MOST_BATCH = 1024
"""Items of a static batch; exports of a dynamic one allow as many."""
_MOST_CHARACTERS = 1 << 24
"""Of the document; an export writes a few thousand."""


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
    input_kind: InputKind
    """`float`: normalised [N, 3, H, W] of type `io`. `uint8`: BGR pixels [N, H, W, 3]."""
    output_kind: OutputKind
    """`logits`: [N, C, H/4, W/4] of type `io`. `labels`: uint8 [N, H, W]."""
    precision: str
    weights: str
    """Where the weights come from, in words: "trained", or "untrained (random, seed N)"."""
    edge: bool = False
    """Whether a second output `edge` ([N, 2, H/4, W/4] of type `io`) is present."""
    io: IoType = "float32"
    """Type of a `float` input, of logits and of edge logits."""
    digest: str = ""
    """Of the ONNX file apart from this document (see onnx_file.py); empty in files older than that."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Provenance that the runtime only shows: folds, parent hash, tool versions, parity figures. Of these only `gate`
    decides about anything: see backends/opening.py."""
    untrained: bool = False
    """Whether nobody trained these weights, so that the labels mean nothing."""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def summary(self) -> str:
        """What the network is, in one line for users."""
        height, width = self.input_size
        return (
            f"{self.family}, {self.num_classes} classes ({self.dataset}), {height}x{width}, {self.precision}, "
            f"{self.weights}"
        )

    def to_json(self) -> str:
        """One JSON document with a `schema` number, ready for `metadata_props`."""
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelMetadata:
        """Read what `to_json` wrote. `source` names the file in errors. Raises ModelFileError."""
        try:
            if len(text) > _MOST_CHARACTERS:
                raise ValueError(f"{len(text):,} characters, expected at most {_MOST_CHARACTERS:,}")
            document = read_json(text, what="it")
        except ValueError as error:
            raise ModelFileError(
                f"{source}: its ce2p metadata is not readable ({error}); export the model again"
            ) from error
        return cls.from_document(document, source)

    @classmethod
    def from_document(cls, document: Any, source: str) -> ModelMetadata:
        """The same of a document that was read already. Nothing in it is believed before its type and range are."""
        try:
            fields = Fields(document)
            schema = fields.rest().pop("schema", None)
        except ValueError as error:
            raise ModelFileError(
                f"{source}: its ce2p metadata is not readable ({error}); export the model again"
            ) from error
        if schema != SCHEMA:
            raise ModelFileError(
                f"{source}: metadata schema {schema!r:.40}, this runtime reads {SCHEMA}; update ce2p or export again"
            )
        try:
            return _checked(fields)
        except ValueError as error:
            raise ModelFileError(
                f"{source}: its ce2p metadata lacks or garbles a field ({error}); export again"
            ) from error


def untrained_in_words(weights: str) -> bool:
    """Whether the words for its weights say so, in a file that has no member `untrained` yet."""
    return weights.startswith("untrained")


def _checked(fields: Fields) -> ModelMetadata:
    """Every field of `ModelMetadata` from its JSON form. Raises ValueError for the first that is not as it must be."""
    class_names = fields.texts("class_names", MOST_CLASSES)
    palette = fields.rows("palette", 0, 255, count=3, most=MOST_CLASSES)
    if not 2 <= len(class_names) == len(palette):
        raise ValueError(f"{len(class_names)} class names with {len(palette)} palette colours")
    flip_pairs = fields.rows("flip_pairs", 0, len(class_names) - 1, count=2, most=MOST_CLASSES)
    if len({label for pair in flip_pairs for label in pair}) < 2 * len(flip_pairs):
        raise ValueError(f"flip_pairs has a class twice: {flip_pairs!s:.60}")
    height, width = fields.integers("input_size", 1, MOST_SIDE, count=2)
    weights = fields.text("weights")
    metadata = ModelMetadata(
        family=fields.text("family"),
        dataset=fields.text("dataset"),
        class_names=tuple(class_names),
        palette=tuple((r, g, b) for r, g, b in palette),
        flip_pairs=tuple((a, b) for a, b in flip_pairs),
        normalisation=_normalisation(fields.fields("normalisation")),
        geometry=_geometry(fields.fields("geometry")),
        align_corners=fields.flag("align_corners"),
        input_size=(height, width),
        output_stride=fields.integer("output_stride", 1, 64),
        input_kind=fields.choice("input_kind", get_args(InputKind)),
        output_kind=fields.choice("output_kind", get_args(OutputKind)),
        precision=fields.choice("precision", tuple(PRECISIONS)),
        weights=weights,
        untrained=fields.flag("untrained", untrained_in_words(weights)),
        edge=fields.flag("edge", False),
        io=fields.choice("io", get_args(IoType), "float32"),
        digest=fields.text("digest", ""),
    )
    return dataclasses.replace(metadata, extra={**fields.members("extra", {}), **fields.rest()})


def _normalisation(fields: Fields) -> Normalisation:
    order: Literal["bgr", "rgb"] = fields.choice("colour_order", ("bgr", "rgb"))
    # Wide of anything sensible, and far from where float32 leaves its range.
    scale = fields.number("scale", 1e-6, 1e6)
    mean = fields.numbers("mean", -1e6, 1e6, count=3)
    std = fields.numbers("std", 1e-6, 1e6, count=3)
    return Normalisation(order, scale, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def _geometry(fields: Fields) -> Geometry:
    return Geometry(
        kind=fields.choice("kind", ("affine", "resize")),
        half_pixel=fields.flag("half_pixel"),
        centre=fields.choice("centre", ("float", "int")),
        unwarp=fields.choice("unwarp", ("logits", "labels")),
    )
