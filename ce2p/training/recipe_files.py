"""Reading, merging and checking the keys and values of a recipe, with one clear line for every mistake."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import ConfigError

_MOST_BYTES = 2**20

AnyModel = TypeVar("AnyModel", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """YAML as one expects it: 1e-3 is a number (to YAML 1.1 it is a word), and a key given twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(problem=f"{key} is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _parse(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except RecursionError:
        raise ConfigError(f"{source}: nested too deep; expected a configuration") from None
    except (ValueError, OverflowError) as error:  # dates and numbers that are none
        raise ConfigError(f"{source}: holds a value that cannot be read ({error!s:.100})") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f" in line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{source}: not readable as YAML, {problem or 'damaged'}{place}") from None


def read_text(path: Path) -> str:
    """The text of a configuration file, at most 1 MiB. Raises ConfigError."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is a folder, device or pipe; expected a text file")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigError(f"{path}: cannot be read ({reason}); expected a text file") from None
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{path}: has more than {_MOST_BYTES:,} bytes; expected a configuration")
    return text


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file. Raises ConfigError."""
    values = _parse(read_text(path), str(path))
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{path}: holds no keys with values; expected a configuration, e.g. model: lip-r101-os16")
    return values


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """["optimiser.lr=0.02"] -> {"optimiser": {"lr": 0.02}}. The last of several for one key wins."""
    tree: dict[str, Any] = {}
    for override in overrides:
        key, separator, text = override.partition("=")
        parts = key.strip().split(".")
        if not separator or not all(parts):
            raise ConfigError(f"{override!r}: expected key=value, e.g. optimiser.lr=0.02")
        value = _parse(text, override)
        for part in reversed(parts):
            value = {part: value}
        tree = combined(tree, value)
    return tree


def combined(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `more` over it, group by group.

    A group with another `name` replaces the old one: what stood there belonged to another kind of schedule, optimiser
    or augmentation. Such a group may be given by its name alone.
    """
    merged = dict(base)
    for key, value in more.items():
        old = merged.get(key)
        if isinstance(old, str) and isinstance(value, dict):
            old = {"name": old}
        if isinstance(old, dict) and isinstance(value, str):
            value = {"name": value}
        if isinstance(old, dict) and isinstance(value, dict):
            renamed = "name" in old and "name" in value and old["name"] != value["name"]
            value = value if renamed else combined(old, value)
        merged[key] = value
    return merged


def validated(model: type[AnyModel], values: dict[str, Any], source: str) -> AnyModel:
    """`values` as a `model`. Raises ConfigError: one line about the first mistake, unknown keys before all others."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        mistakes = sorted(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
        raise ConfigError(f"{source}: {_one_line(model, values, dict(mistakes[0]))}") from None


def _one_line(model: type[BaseModel], values: dict[str, Any], mistake: dict[str, Any]) -> str:
    path, parent = _located(model, values, mistake["loc"])
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = list(parent.model_fields) if parent is not None else []
        return f"unknown key {path}; expected {', '.join(allowed)}{_suggestion(model, values, path, allowed)}"
    if kind == "missing":
        return f"{path} is missing; expected a value, e.g. {path}=..."
    if kind == "union_tag_invalid":
        close = difflib.get_close_matches(str(context["tag"]), re.findall(r"'([^']+)'", context["expected_tags"]), 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"{path}.name is {context['tag']!r}, expected {context['expected_tags']}{hint}"
    if kind == "union_tag_not_found":
        return f"{path} is {mistake['input']!r}, expected a name and what belongs to it, e.g. {path}.name=..."
    expected = re.sub(r"^\w+ should (be|have) ", "", mistake["msg"])
    if kind in {"model_type", "model_attributes_type"}:
        expected = "keys with values"
    return f"{path} is {mistake['input']!r}, expected {expected}"


def _located(model: type[BaseModel], values: Any, location: Sequence[str | int]) -> tuple[str, type[BaseModel] | None]:
    """The dotted key of a mistake, without pydantic's union tags, and the model that the key's group belongs to."""
    path: list[str] = []
    here: type[BaseModel] | None = model
    parent = here
    for part in location:
        if isinstance(values, dict) and part not in values and values.get("name") == part:
            continue  # a union's tag
        path.append(str(part))
        parent = here
        values = values.get(part) if isinstance(values, dict) else None
        here = _model_at(parent, str(part), values)
    return ".".join(path), parent


def _model_at(parent: type[BaseModel] | None, key: str, value: Any) -> type[BaseModel] | None:
    """The model of a group: where several are possible, the one that the group's `name` says."""
    if parent is None or key not in parent.model_fields or not isinstance(value, dict):
        return None
    models = [
        m
        for m in _models_in(parent.model_fields[key].annotation)
        if "name" not in m.model_fields or m.model_fields["name"].default == value.get("name")
    ]
    return models[0] if models else None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _suggestion(model: type[BaseModel], values: dict[str, Any], path: str, allowed: list[str]) -> str:
    """The nearest key of the same group; else the same word, or nearly, in another group."""
    group, _, word = path.rpartition(".")
    if close := difflib.get_close_matches(word, allowed, 1):
        return f"; did you mean {group + '.' if group else ''}{close[0]}?"
    elsewhere = {key.rpartition(".")[2]: key for key in _keys(model, values)}
    close = difflib.get_close_matches(word, list(elsewhere), 1)
    return f"; did you mean {elsewhere[close[0]]}?" if close else ""


def _keys(model: type[BaseModel], values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted key that this configuration could have."""
    for key in model.model_fields:
        yield prefix + key
        group = values.get(key)
        inner = _model_at(model, key, group)
        if inner is not None and isinstance(group, dict):
            yield from _keys(inner, group, f"{prefix}{key}.")
