"""Averaging over mirrored and rescaled inputs, against networks whose answer is known and against plain torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ce2p.labels import LabelSet, label_set
from ce2p.models import CE2P
from ce2p_export.torch_backend import TorchBackend
from ce2p_runtime import BackendError, HumanParser, ModelMetadata
from ce2p_runtime.backends import Backend
from ce2p_runtime.backends.averaging import AveragedBackend
from ce2p_runtime.model_files.metadata import Geometry, Normalisation

Tiny = Callable[..., CE2P]
SIZE = (32, 24)


def metadata_of(labels: LabelSet, **changes: Any) -> ModelMetadata:
    plain = ModelMetadata(
        family="schp",
        dataset=labels.dataset,
        class_names=labels.names,
        palette=((0, 0, 0),) * labels.num_classes,
        flip_pairs=labels.flip_pairs,
        normalisation=Normalisation("bgr", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        geometry=Geometry("resize", False, "float", "logits"),
        align_corners=True,
        input_size=SIZE,
        output_stride=16,
        input_kind="float",
        output_kind="logits",
        precision="fp32",
        weights="trained",
    )
    return dataclasses.replace(plain, **changes)


class Fake(Backend):
    """A network that is one function of the picture; remembers what it was given."""

    name, device, batch = "fake", "cpu", None

    def __init__(self, metadata: ModelMetadata, function: Callable[[Tensor], Tensor], any_size: bool = False) -> None:
        self.metadata, self.function = metadata, function
        self.seen: list[NDArray[Any]] = []
        if any_size:
            self.any_size = True

    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        assert batch.flags.c_contiguous
        self.seen.append(batch)
        image = torch.from_numpy(batch).float()
        if self.metadata.input_kind == "uint8":
            image = image.permute(0, 3, 1, 2)
        return [self.function(image).numpy()]

    def close(self) -> None:
        self.seen.append(np.zeros(0))


def slopes(dataset: str) -> Callable[[Tensor], Tensor]:
    """A network that knows its left from its right: the slope from left to right speaks for the left class of a pair
    and against the right one, other classes see brightness. Mirroring it changes nothing if the pairs are exchanged."""
    labels = label_set(dataset)

    def function(image: Tensor) -> Tensor:
        pooled = F.avg_pool2d(image.mean(1, keepdim=True), 4)
        padded = F.pad(pooled, (1, 1, 0, 0), mode="replicate")
        slope = padded[..., 2:] - padded[..., :-2]
        logits = pooled.repeat(1, labels.num_classes, 1, 1)
        for left, right in labels.flip_pairs:
            logits[:, left], logits[:, right] = slope[:, 0] * (left + 1), -slope[:, 0] * (left + 1)
        return logits

    return function


@pytest.mark.parametrize("dataset", ["lip", "cihp", "atr", "ppp", "mhp"])
@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_a_network_that_mirroring_does_not_change_is_not_changed_by_averaging(dataset: str, kind: str) -> None:
    metadata = metadata_of(label_set(dataset), input_kind=kind)
    rng = np.random.default_rng(0)
    batch: NDArray[Any] = rng.standard_normal((2, 3, *SIZE), np.float32)
    if kind == "uint8":
        batch = rng.integers(0, 256, (2, *SIZE, 3), np.uint8)
    fake = Fake(metadata, slopes(dataset))
    alone = fake.run(batch)[0]
    (averaged,) = AveragedBackend(fake, flip=True).run(batch)
    assert averaged.dtype == np.float32
    limit = 5e-7 * float(np.abs(alone).max())  # the order of a few float32 additions
    np.testing.assert_allclose(averaged, alone, atol=limit)
    mirrored = fake.seen[-1]
    np.testing.assert_array_equal(mirrored, batch[:, :, ::-1] if kind == "uint8" else batch[..., ::-1])


def test_the_pairs_are_the_data_sets_own_and_not_lips() -> None:
    """LIP's exchange on ATR would mix up bag (16) and scarf (17)."""
    labels = label_set("atr")
    ids = torch.arange(18.0).view(1, 18, 1, 1)
    fake = Fake(metadata_of(labels), lambda image: ids.expand(len(image), 18, 8, 6).clone())
    (averaged,) = AveragedBackend(fake).run(np.zeros((1, 3, *SIZE), np.float32))
    expected = np.arange(18.0)
    for left, right in ((9, 10), (12, 13), (14, 15)):
        expected[left] = expected[right] = (left + right) / 2
    np.testing.assert_array_equal(averaged[0, :, 3, 2], expected)


def published_test(net: CE2P, image: Tensor, pairs: list[tuple[int, int]], scales: list[float], flip: bool) -> Tensor:
    """SCHP's multi-scale testing, for any pairs and convention, in torch alone."""
    align = net.config.align_corners
    order = list(range(net.config.num_classes))
    for left, right in pairs:
        order[left], order[right] = right, left
    outputs = []
    for scale in scales:
        size = [int(side * scale) for side in image.shape[2:]]
        scaled = F.interpolate(image, size=size, mode="bilinear", align_corners=align)
        logits = net(scaled).parsing
        if flip:
            logits = 0.5 * (logits + net(scaled.flip(3)).parsing[:, order].flip(3))
        outputs.append(F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=align))
    return torch.stack(outputs).mean(0)


@pytest.mark.parametrize("family", ["schp", "ssseg"])
@pytest.mark.parametrize("scales", [(1.0,), (0.75, 1.0, 1.25), (0.8,)])
def test_averages_are_those_of_the_published_test(tiny: Tiny, family: str, scales: tuple[float, ...]) -> None:
    net, labels = tiny(family), label_set("lip")
    size = (65, 73)
    backend = AveragedBackend(TorchBackend(net, labels, size), flip=True, scales=scales)
    batch = np.random.default_rng(1).standard_normal((2, 3, *size), np.float32)
    (found,) = backend.run(batch)
    with torch.inference_mode():
        expected = published_test(net, torch.from_numpy(batch), list(labels.flip_pairs), list(scales), flip=True)
    full = F.interpolate(torch.from_numpy(found), size=size, mode="bilinear", align_corners=net.config.align_corners)
    assert found.shape[2:] == ((17, 19) if scales == (1.0,) else size)
    error = torch.linalg.norm(full - expected) / torch.linalg.norm(expected)
    assert error < 1e-4  # our coordinates are float64 and torch's float32, 1e-5 here; another convention gives 0.1


def test_uint8_pixels_are_rescaled_and_rounded() -> None:
    fake = Fake(metadata_of(label_set("ppp"), input_kind="uint8"), slopes("ppp"), any_size=True)
    batch = np.random.default_rng(2).integers(0, 256, (1, *SIZE, 3), np.uint8)
    AveragedBackend(fake, flip=False, scales=(1.25,)).run(batch)
    (given,) = fake.seen
    planes = torch.from_numpy(batch).permute(0, 3, 1, 2).float()
    expected = F.interpolate(planes, size=(40, 30), mode="bilinear", align_corners=True).permute(0, 2, 3, 1).numpy()
    assert given.dtype == np.uint8
    assert np.abs(given - expected).max() <= 0.5 + 1e-3


def test_it_is_a_backend_like_any_other() -> None:
    fake = Fake(metadata_of(label_set("lip"), edge=True), slopes("lip"))
    backend = AveragedBackend(fake, flip=True)
    assert not backend.metadata.edge
    assert (backend.device, backend.batch) == ("cpu", None)
    frame = np.random.default_rng(3).integers(0, 256, (50, 40, 3), np.uint8)
    with HumanParser.on(backend, name="a fake") as parser:
        assert parser.model is None
        assert str(parser).startswith(
            "a fake: schp, 20 classes (lip), 32x24, fp32, trained; fake, averaged over the mirr"
        )
        plain = HumanParser.on(fake, name="alone")
        np.testing.assert_array_equal(parser(frame).labels, plain(frame).labels)
    assert fake.seen[-1].size == 0  # closing the parser closes all the way down


def test_a_parser_on_a_backend_groups_frames_by_the_batch_asked_for() -> None:
    fake = Fake(metadata_of(label_set("lip")), slopes("lip"))
    frames = [np.full((20, 20, 3), value, np.uint8) for value in range(5)]
    assert len(HumanParser.on(fake, name="fake", batch=2).parse_batch(frames)) == 5
    assert [len(batch) for batch in fake.seen] == [2, 2, 1]
    with pytest.raises(ValueError, match="batch is 0"):
        HumanParser.on(fake, name="fake", batch=0)


def test_the_last_group_is_filled_up_to_a_fixed_batch() -> None:
    """Engines take the batch sizes they were built for and no other."""
    fake = Fake(metadata_of(label_set("lip")), slopes("lip"))
    frames = [np.random.default_rng(i).integers(0, 256, (20, 20, 3), np.uint8) for i in range(3)]
    found = HumanParser.on(AveragedBackend(fake, batch=2), name="fixed").parse_batch(frames)
    assert [len(batch) for batch in fake.seen] == [2] * 4
    for frame, result in zip(frames, found, strict=True):
        np.testing.assert_array_equal(result.labels, HumanParser.on(fake, name="alone")(frame).labels)


def test_what_cannot_be_averaged_is_refused_in_one_line() -> None:
    labels = label_set("lip")
    cases = [
        (Fake(metadata_of(labels, output_kind="labels"), slopes("lip")), {}, "export it with --output logits"),
        (Fake(metadata_of(labels), slopes("lip")), {"scales": (0.75, 1.0)}, r"takes 32x24 .* 0\.75, 1 .*checkpoint"),
        (Fake(metadata_of(labels), slopes("lip")), {"scales": ()}, "at least one number above 0"),
        (Fake(metadata_of(labels), slopes("lip"), True), {"scales": (1.0, -1.0)}, "at least one number above 0"),
    ]
    for fake, options, message in cases:
        with pytest.raises(BackendError, match=message) as refusal:
            AveragedBackend(fake, **options)
        assert "\n" not in str(refusal.value)
