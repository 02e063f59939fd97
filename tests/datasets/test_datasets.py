"""Every data set's entry: complete, without contradictions, and of effect wherever something is derived from it."""

from __future__ import annotations

import dataclasses
import pkgutil
from typing import Any

import numpy as np
import pytest

import ce2p.datasets
from ce2p.datasets import DATASETS, names_of
from ce2p.datasets.entry import DataSet, LabelSet, SyntheticPeople
from ce2p.errors import ConfigError
from ce2p.families import FAMILIES
from ce2p.models import BACKBONES, model_names
from ce2p.synthetic.classes import class_table
from ce2p.training.recipe import recipe_names, resolve


def test_every_module_of_a_data_set_is_registered_under_its_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(ce2p.datasets.__path__)} - {"entry"}
    assert modules == set(DATASETS)


def test_no_part_can_be_forgotten() -> None:
    required = ("labels", "layout", "people")
    for missing in required:
        parts = {name: getattr(DATASETS["lip"], name) for name in required if name != missing}
        with pytest.raises(TypeError, match=missing):
            DataSet(**parts)


@pytest.mark.parametrize("name", DATASETS)
def test_an_entry_agrees_with_itself_and_with_what_it_names(name: str) -> None:
    entry = DATASETS[name]
    assert len(set(entry.labels.names)) == entry.labels.num_classes
    assert entry.colours is None or len(entry.colours) == entry.labels.num_classes
    assert set(entry.input_sizes) <= set(FAMILIES)
    assert set(entry.recipes) <= set(recipe_names())
    assert entry.people is None or entry.layout is not None
    assert {figure.dataset for figure in entry.published} <= {name}
    if entry.people and entry.people.body_parts:  # rules would have no effect
        assert not {**entry.people.classes, **entry.people.regions}
        assert entry.labels.num_classes == DATASETS["ppp"].labels.num_classes
    if entry.people and entry.has_instances:  # several people are annotated by their clothes alone
        assert (entry.people.body_parts, entry.people.border) == (False, 0)


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name].recipes])
def test_what_a_data_set_changes_in_a_recipe_arrives(name: str) -> None:
    def arrived(wanted: Any, found: Any) -> bool:
        if isinstance(wanted, dict):
            return all(arrived(value, found[key]) for key, value in wanted.items())
        return bool(wanted == (list(found) if isinstance(found, tuple) else found))

    for recipe, changes in DATASETS[name].recipes.items():
        assert arrived(changes, resolve(f"{name}-r101-os16", recipe, []).model_dump())
        lip = resolve("lip-r101-os16", recipe, []).model_dump()
        assert not any(arrived({key: value}, lip) for key, value in changes.items()), "changes nothing"


def test_each_data_set_that_can_be_opened_has_model_names() -> None:
    published = names_of(layout=True, published=True)
    assert len(model_names()) == len(set(model_names())) == len(published) * len(BACKBONES) * 2
    assert {name.partition("-")[0] for name in model_names()} == set(published)


@pytest.mark.parametrize("name", names_of(people=True))
def test_synthetic_people_have_only_classes_of_the_data_set(name: str) -> None:
    entry = DATASETS[name]
    assert entry.people
    if not entry.people.body_parts:
        table = class_table(name)
        assert table.max() < entry.labels.num_classes
        assert np.unique(table).size > 1


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        (SyntheticPeople(), "no class for the Background of synthetic people"),
        (
            SyntheticPeople(classes={"Background": "nothing", "*": "Cat"}),
            "have the class 'Cat', which the data set lacks",
        ),
        (SyntheticPeople(classes={"Backgruond": "nothing", "*": "someone"}), "have no 'Backgruond'; expected a class"),
        (SyntheticPeople(classes={"*": "someone"}, regions={("Face", "nose"): "someone"}), "have no 'nose'; expected"),
    ],
)
def test_a_slip_in_the_rules_of_synthetic_people_is_named(
    people: SyntheticPeople, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = LabelSet.of("slip", "Slip", "nothing, someone")
    monkeypatch.setitem(DATASETS, "slip", dataclasses.replace(DATASETS["lip"], labels=labels, people=people))
    with pytest.raises(ConfigError, match=expected):
        class_table("slip")
