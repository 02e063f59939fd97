"""What a run is made of: the recipes, and how a command line's wishes become one complete configuration.

A recipe is a readable file in `recipes/`, with its sources. Values come, in this order, from the recipe, from what the
data set in the model's name changes in it (`DataSet.recipes`), from the user's own file, and from `key=value`
overrides. What comes out is saved with the run, and read back gives the same configuration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_type_hints

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from ..augmentation import KINDS, build_augmentation
from ..datasets import DATASETS
from ..errors import ConfigError
from ..families import FAMILIES, default_input_size
from ..labels import label_set
from ..models.config import parse_model_name
from .recipe_files import combined, parse_overrides, read_mapping, validated

RECIPES = Path(__file__).with_name("recipes")
DEFAULT_RECIPE = "ssseg"

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Batch = Annotated[int, Field(ge=2)]  # BatchNorm has one value per picture behind the pyramid's 1x1 bin
Side = Annotated[int, Field(ge=32, le=4096)]


class _Model(BaseModel):
    """Unknown keys are errors, and nothing is converted: `batch: "8"` or `seed: 1.5` is a mistake, not a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SGD(_Model):
    """torch.optim.SGD, one group for all parameters."""

    name: Literal["sgd"] = "sgd"
    lr: float = Field(gt=0)
    """Where the schedule begins, or its peak. For the whole `batch`; it is not scaled with anything."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Weight = 5e-4


class AdamW(_Model):
    """torch.optim.AdamW with its default betas, one group for all parameters."""

    name: Literal["adamw"] = "adamw"
    lr: float = Field(gt=0)
    weight_decay: Weight = 1e-2


class PolySchedule(_Model):
    """Falls from lr to the floor as (1 - step / steps) ** power, step by step."""

    name: Literal["poly"] = "poly"
    power: float = Field(0.9, gt=0)
    floor: Share = 0.0
    """Share of lr at the end."""


class SelfCorrectionSchedule(_Model):
    """SCHP's: linear warm-up, half a cosine up to the first cycle, one half cosine in each cycle; epoch by epoch.

    Where the cycles begin and how long they are says `self_correction`.
    """

    name: Literal["self-correction"] = "self-correction"
    warmup_epochs: int = Field(10, ge=0)
    floor: Share = 0.01
    """Share of lr at the start and at the bottom of each cosine."""
    restart: Share = 0.5
    """Share of lr at the start of each cycle."""


class OneCycleSchedule(_Model):
    """torch's OneCycleLR: half a cosine up to lr, half a cosine down, step by step."""

    name: Literal["one-cycle"] = "one-cycle"
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the steps before the peak (`pct_start`)."""
    start: Annotated[float, Field(gt=0, le=1)] = 0.04
    """Share of lr at the first step (1 / `div_factor`)."""
    end: Share = 4e-6
    """Share of lr at the last step (1 / `div_factor` / `final_div_factor`)."""


class LossConfig(_Model):
    """Weights of the loss terms; what the terms are stands in `losses.py`. The defaults are CE2P's."""

    stage1: Weight = 1.0
    """The decoder's parsing, before the fusion with edges."""
    parsing: Weight = 1.0
    """The result."""
    edge: Weight = 1.0
    cross_entropy: Weight = 1.0
    """Within each parsing."""
    lovasz: Weight = 0.0
    """Within each parsing."""
    consistency: Weight = 0.0
    """Of each parsing with the edges."""
    edge_balance: Literal["weights", "pixels"] = "weights"
    """Edges and the rest are always weighted by each other's share. The sum is then divided by the weights' sum, so
    that both halves count the same, or by the number of pixels, which makes the term smaller the rarer edges are."""
    class_weights: bool = False
    """Weigh classes by the root of their rarity in the training set. Ours, for small data sets."""


class SelfCorrectionConfig(_Model):
    """SCHP's cycles: a teacher that is the mean of the networks at their ends, and soft labels from it."""

    start_epoch: Count = 100
    """Epochs before the first network is taken."""
    cycle_epochs: Count = 10

    def ends_cycle(self, epoch: int) -> bool:
        """Whether the teacher takes the network in after epoch number `epoch`, counted from 0."""
        beyond = epoch + 1 - self.start_epoch
        return beyond >= 0 and beyond % self.cycle_epochs == 0


class AugmentationConfig(_Model):
    """`name`, and the parameters of that class in `ce2p.augmentation`: its fields, its defaults, its limits."""

    name: str

    def parameters(self) -> dict[str, Any]:
        """What `ce2p.augmentation.build_augmentation` takes beside the name."""
        return self.model_dump(exclude={"name"})

    @model_validator(mode="after")
    def _build_once(self) -> AugmentationConfig:
        """The class checks its own values; size and labels, which come later, do not matter to that."""
        build_augmentation(self.name, self.parameters(), (64, 64), label_set("lip"))
        return self


def _augmentation_model(name: str, kind: type[Any]) -> type[AugmentationConfig]:
    """The model of one augmentation class, field by field, so that each default has one place."""
    hints = get_type_hints(kind)
    fields: dict[str, Any] = {"name": (Literal[name], name)}
    for entry in dataclasses.fields(kind):
        if entry.init and entry.name not in ("size", "label_set"):
            # YAML has lists where the class has tuples: the one conversion that is allowed.
            fields[entry.name] = (_tuples_from_lists(hints[entry.name]), entry.default)
    return create_model(f"{kind.__name__}Config", __base__=AugmentationConfig, **fields)


def _tuples_from_lists(hint: Any) -> Any:
    return Annotated[hint, BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]


if TYPE_CHECKING:
    AnyAugmentation = AugmentationConfig
    FamilyName = str
else:
    FamilyName = Literal[tuple(FAMILIES)]
    AnyAugmentation = Annotated[
        Union[tuple(_augmentation_model(name, kind) for name, kind in KINDS.items())],  # noqa: UP007
        Field(discriminator="name"),
    ]


def _size(value: Any) -> Any:
    """One number is a square; YAML has lists where we have tuples."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


class TrainConfig(_Model):
    """Everything that decides about a run, except the data's place and the machine."""

    recipe: str
    """Which of the recipes it started from."""
    model: str
    """`<dataset>-<backbone>-os<stride>`, e.g. lip-r101-os16; data set `custom` reads its classes from the data."""
    family: FamilyName
    """Whose wiring, colours and geometry: see `ce2p.families`."""
    input_size: Annotated[tuple[Side, Side], BeforeValidator(_size)]
    """(height, width) in pixels."""
    epochs: Count
    batch: Batch
    """Pictures per optimiser step, over all processes and all their micro batches."""
    micro_batch: Batch | None = None
    """Pictures at a time in one process; gradients are accumulated up to `batch`. None: all of the process's share."""
    optimiser: Annotated[SGD | AdamW, Field(discriminator="name")]
    schedule: Annotated[PolySchedule | SelfCorrectionSchedule | OneCycleSchedule, Field(discriminator="name")]
    augmentation: AnyAugmentation
    loss: LossConfig
    self_correction: SelfCorrectionConfig | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights per step, kept beside them. None: none is kept."""
    precision: Literal["fp32", "bf16", "fp16"]
    """Of the network's arithmetic in training; weights and losses stay in float32."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Greatest norm of the whole gradient. None: it is left as it is."""
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _fits_together(self) -> TrainConfig:
        parse_model_name(self.model)
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ConfigError(f"batch is {self.batch}, expected a multiple of micro_batch, which is {self.micro_batch}")
        cycles = self.self_correction
        if cycles is None and self.schedule.name == "self-correction":
            raise ConfigError(
                "schedule is self-correction without self_correction cycles to follow; "
                "give self_correction.start_epoch, or another schedule"
            )
        if cycles is not None and cycles.start_epoch > self.epochs:
            raise ConfigError(
                f"self_correction.start_epoch is {cycles.start_epoch}, expected at most epochs ({self.epochs}); "
                "lower it, or set self_correction=null and another schedule"
            )
        if cycles is not None and getattr(self.schedule, "warmup_epochs", 0) > cycles.start_epoch:
            raise ConfigError(
                f"self_correction.start_epoch is {cycles.start_epoch}, expected at least schedule.warmup_epochs; "
                "give both"
            )
        return self

    @property
    def dataset(self) -> str:
        """Short name of the data set, the first part of `model`."""
        return parse_model_name(self.model)[0]


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.yaml")))


def resolve(model_or_file: str, recipe: str | None, overrides: Sequence[str]) -> TrainConfig:
    """The complete configuration of a run.

    `model_or_file`: a model name, or a YAML file with `model`, usually `recipe`, and what differs. `recipe`: one of
    `recipe_names()`; None: the file's, else "ssseg". `overrides`: "optimiser.lr=0.02", values in YAML. Raises
    ConfigError with one line: the key, what was found, what is expected.
    """
    is_file = Path(model_or_file).suffix in {".yaml", ".yml"}
    own = read_mapping(Path(model_or_file)) if is_file else {"model": model_or_file}
    wishes = combined(own, parse_overrides(overrides))
    name = wishes.get("recipe", recipe or DEFAULT_RECIPE)
    if recipe is not None and name != recipe:
        raise ConfigError(f"recipe is {recipe} on the command line and {name} in {model_or_file}; leave one out")
    if name not in recipe_names():
        raise ConfigError(f"recipe is {name!r}, expected one of {', '.join(recipe_names())}")
    if not isinstance(wishes.get("model"), str):
        found = f"is {wishes['model']!r}" if "model" in wishes else "is missing"
        raise ConfigError(f"{model_or_file}: the key model {found}; expected a model name, e.g. lip-r101-os16")
    dataset, _, _ = parse_model_name(wishes["model"])
    base = read_mapping(RECIPES / f"{name}.yaml")
    values = combined(combined(base, DATASETS[dataset].recipes.get(name, {})), wishes | {"recipe": name})
    if "input_size" not in values and values.get("family") in FAMILIES:
        values["input_size"] = default_input_size(values["family"], dataset)
    return validated(TrainConfig, values, model_or_file if is_file else f"recipe {name}")


def to_yaml(config: TrainConfig) -> str:
    """The configuration as a file that `resolve` reads back to the same one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=120)
