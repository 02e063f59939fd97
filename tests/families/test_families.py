"""Every family's entry: complete, registered, and told from all others."""

from __future__ import annotations

import dataclasses
import pkgutil

import pytest
import torch

import ce2p.families
from ce2p.families import FAMILIES, Family, palette_for
from ce2p.labels import label_set
from ce2p.models import CE2P, CE2PConfig


def test_every_module_of_a_family_is_registered_under_its_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(ce2p.families.__path__)} - {"entry"}
    assert modules == {name.replace("-", "_") for name in FAMILIES}


def test_no_part_can_be_forgotten() -> None:
    for missing in (field.name for field in dataclasses.fields(Family)):
        parts = {name: value for name, value in vars(FAMILIES["schp"]).items() if name != missing}
        with pytest.raises(TypeError, match=missing):
            Family(**parts)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_of_our_keys_has_a_key_of_its_own_in_the_file(name: str) -> None:
    entry = FAMILIES[name]
    with torch.device("meta"):
        ours = CE2P(CE2PConfig.of(name, "r101", entry.strides[0], 20)).state_dict()
    assert len({entry.file_key(key) for key in ours}) == len(ours)


@pytest.mark.parametrize("name", FAMILIES)
def test_input_size_stride_and_colours_are_usable(name: str) -> None:
    entry = FAMILIES[name]
    assert set(entry.strides) <= {8, 16}
    assert len(entry.strides) == len(set(entry.strides)) > 0
    assert entry.input_size % 8 in (0, 1)  # S divides by the strides, or S-1 does
    site = palette_for(label_set("lip"), name) != palette_for(label_set("lip"), "schp")
    assert site == entry.site_colours
