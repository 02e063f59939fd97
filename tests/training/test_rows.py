"""Rows of the result tables, from data to a parsed picture: eight networks at their full depth, small pictures.

The sixteen rows are four data sets by two backbones by two strides. These eight hold every pair of the three; more find
nothing more, since the recipe and the classes follow from the data set alone (test_recipe.py goes over all rows) and
the network from backbone and stride. Each goes through the commands' own code: synthetic people in that data set's
layout, its recipe's losses and augmentation, an export that proves itself and passes its gate, and a picture parsed by
the exported file.

One row is also as wide as published: what only size can break (limits of readers, memory) breaks there. The others have
a quarter of the channels, in the published proportions: data sets, recipes, depths and strides are what they differ by.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import ce2p
from ce2p.data.annotations import read_image, read_labels
from ce2p.data.splits import open_split
from ce2p.labels import label_set
from ce2p.models import CE2PConfig
from ce2p.synthetic import write_dataset
from ce2p_runtime import HumanParser

FULL_WIDTH = "lip-r101-os8"
ROWS = [
    FULL_WIDTH,  # by far the longest: it starts first
    "lip-r50-os16",
    "voc-r50-os8",
    "voc-r101-os16",
    "cihp-r101-os8",
    "cihp-r50-os16",
    "atr-r50-os8",
    "atr-r101-os16",
]
SIZE = (65, 65)
# What a row takes from its recipe, and what six steps on two cores leave room for: a small crop, a small batch, and no
# mirroring of what is to be learnt by heart.
SHORT = (
    "input_size=65",
    "batch=2",
    "epochs=2",
    "schedule.power=0.1",
    "augmentation.scale_range=[1.0,1.0]",
    "augmentation.flip_probability=0",
    "augmentation.rotation_probability=0",
)
RATES = {True: "optimiser.lr=0.003", False: "optimiser.lr=0.03"}
"""By full width: what moves a network from random weights within so few steps. Fewer channels want more of it."""

DataFolder = Callable[[str], Path]
published_width = CE2PConfig.of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    @cache
    def make(dataset: str) -> Path:
        root = tmp_path_factory.mktemp("data") / dataset
        write_dataset(root, dataset, train=6, val=1, size=(72, 68), seed=4)
        return root

    return make


def quarter_width(family: str, backbone: str, output_stride: int, num_classes: int) -> CE2PConfig:
    """`CE2PConfig.of` with a fourth of its channels everywhere."""
    config = published_width(family, backbone, output_stride, num_classes)
    widths = [field.name for field in dataclasses.fields(config) if field.name.endswith("_width")]
    return dataclasses.replace(config, **{name: getattr(config, name) // 4 for name in widths})


@pytest.mark.parametrize("row", ROWS)
def test_a_row_trains_exports_and_parses(
    row: str, data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = row == FULL_WIDTH
    if not full:
        monkeypatch.setattr(CE2PConfig, "of", quarter_width)
    dataset = row.partition("-")[0]
    folder = tmp_path / "run"
    ce2p.train(
        row,
        data(dataset),
        overrides=(*SHORT, RATES[full]),
        output=folder,
        device="cpu",
        workers=0,
        validate_every=0,
        snapshot_minutes=60,
    )
    losses = [float(line["loss"]) for line in csv.DictReader((folder / "losses.csv").open())]
    assert len(losses) == 2  # the means of two epochs of three steps
    assert losses[1] < 0.95 * losses[0], losses
    exported = ce2p.export(folder / "last.safetensors", tmp_path / "row.onnx", gate_count=2)
    assert exported.proof.failure is None
    with HumanParser(tmp_path / "row.onnx", backend="onnxruntime", threads=1) as parser:
        assert (parser.metadata.dataset, parser.metadata.input_size) == (dataset, SIZE)
        assert "trained 2 of 2 epochs" in parser.metadata.weights
        sample = open_split(dataset, data(dataset), "val")[0]
        labels = parser(read_image(sample.image)).labels
    assert sample.labels is not None
    assert labels.shape == read_labels(sample.labels).shape
    assert labels.max() < label_set(dataset).num_classes
