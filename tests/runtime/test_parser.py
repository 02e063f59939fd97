"""The whole pipeline against the plain one: torch, cv2 warp per channel, argmax, as the public extractors do it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ce2p.families import Preprocessing, preprocessing_for
from ce2p.models import CE2P
from ce2p.synthetic import iter_samples, walking_sequence
from ce2p_export import GraphOptions, export_onnx, open_model
from ce2p_runtime import HumanParser, MediaError, ParsingResult
from ce2p_runtime.media.video import VideoWriter
from ce2p_runtime.model_files.metadata import Geometry
from tests.runtime.warps import exact_warp

Tiny = Callable[..., CE2P]
Pixels = NDArray[np.uint8]
SIZE = (97, 97)


@pytest.fixture(scope="module")
def models(exported: Callable[..., Path]) -> dict[str, Path]:
    files = {family: exported(GraphOptions(SIZE), family) for family in ("schp", "ce2p", "mce2p", "ssseg")}
    return files | {"schp labels": exported(GraphOptions(SIZE, None, "uint8", "labels"))}


def three_points(centre: tuple[float, float], extent: float, half_pixel: bool) -> NDArray[np.float64]:
    """frame -> input, by three float32 points, as the public get_affine_transform builds it."""
    side = SIZE[0] if half_pixel else SIZE[0] - 1
    middle = np.float32([side * 0.5, side * 0.5])
    source = np.float32(
        [centre, (centre[0], centre[1] - extent * 0.5), (centre[0] - extent * 0.5, centre[1] - extent * 0.5)]
    )
    target = np.float32([middle, (middle[0], middle[1] - side * 0.5), (middle[0] - side * 0.5, middle[1] - side * 0.5)])
    return np.asarray(cv2.getAffineTransform(source, target))


def plain_pipeline(net: CE2P, preprocessing: Preprocessing, frame: Pixels) -> Pixels:
    """What a user of the public code runs, one step after the other."""
    height, width = frame.shape[:2]
    how, geometry = preprocessing.normalisation, preprocessing.geometry
    affine = geometry.kind == "affine"
    centre, extent = ((width - 1) * 0.5, (height - 1) * 0.5), float(max(width, height) - 1)
    forward = three_points(centre, extent, geometry.half_pixel)
    crop = cv2.warpAffine(frame, forward, SIZE, flags=cv2.INTER_LINEAR) if affine else cv2.resize(frame, SIZE)
    pixels = crop[:, :, ::-1] if how.colour_order == "rgb" else crop
    normalised = (pixels.astype(np.float32) * how.scale - np.float32(how.mean)) / np.float32(how.std)
    with torch.no_grad():
        logits = net(torch.from_numpy(normalised.transpose(2, 0, 1)[None].copy())).parsing
    align = net.config.align_corners
    if not affine:
        return (
            F.interpolate(logits, (height, width), mode="bilinear", align_corners=align)[0]
            .argmax(0)
            .numpy()
            .astype(np.uint8)
        )
    full = F.interpolate(logits, SIZE, mode="bilinear", align_corners=align)[0].numpy()
    back = (int(centre[0]), int(centre[1])) if geometry.centre == "int" else centre
    matrix = three_points(back, extent, geometry.half_pixel)
    if geometry.unwarp == "labels":
        labels = full.argmax(0).astype(np.uint8)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(labels, matrix, (width, height), flags=flags), np.uint8)
    return np.stack([exact_warp(plane, matrix, (height, width)) for plane in full]).argmax(0).astype(np.uint8)


@pytest.mark.parametrize("family", ["schp", "ce2p", "mce2p", "ssseg"])
def test_labels_equal_the_plain_pipeline_on_99_99_percent_of_pixels(
    models: dict[str, Path], tiny: Tiny, family: str
) -> None:
    parser = HumanParser(models[family], backend="onnxruntime")
    same = total = 0
    for (frame, _), (height, width) in zip(
        iter_samples(5, 4, (400, 320)), ((400, 320), (240, 427), (301, 299), (64, 90)), strict=True
    ):
        picture = np.asarray(cv2.resize(frame, (width, height)), np.uint8)
        found, expected = (
            parser(picture).labels,
            plain_pipeline(tiny(family), preprocessing_for(tiny(family).config.family), picture),
        )
        assert found.shape == (height, width)
        same, total = same + int((found == expected).sum()), total + found.size
    # OpenCV's nearest neighbour rounds coordinates in float32: samples that fall halfway between pixels may move.
    least = 0.999 if preprocessing_for(tiny(family).config.family).geometry.unwarp == "labels" else 0.9999
    assert same / total >= least, f"{same / total:.5%}"


def test_labels_inside_the_graph_are_the_evaluation_scripts_way(models: dict[str, Path]) -> None:
    """uint8 in, labels out: nearest neighbour on the label map; along borders it may differ from warped logits."""
    frame = next(iter_samples(6, 1, (300, 240)))[0]
    in_graph, outside = HumanParser(models["schp labels"]), HumanParser(models["schp"])
    assert in_graph.metadata.geometry.unwarp == "labels"
    assert (in_graph(frame).labels == outside(frame).labels).mean() > 0.95


@pytest.mark.parametrize(("model", "batch"), [("schp", 1), ("schp labels", 1), ("schp labels", 3)])
def test_a_batch_gives_each_frame_its_own_result(models: dict[str, Path], model: str, batch: int) -> None:
    one, many = HumanParser(models[model]), HumanParser(models[model], batch=batch)
    assert many.group_size == batch
    frames = [image for image, _ in iter_samples(7, 3, (128, 96))] + [np.zeros((50, 70, 3), np.uint8)]
    together = many.parse_batch(frames)
    for frame, result in zip(frames, together, strict=True):
        # ONNX Runtime may sum in another order for another batch size: labels move only where two classes tie.
        assert (result.labels == one(frame).labels).mean() > 0.9999
    assert many.parse_batch([]) == []
    with pytest.raises(ValueError, match="at least 1"):
        HumanParser(models[model], batch=0)


def test_a_static_batch_is_filled_up_and_cut_again(tmp_path: Path, models: dict[str, Path]) -> None:
    source = open_model("lip-r18-os16", family="schp", random=True)
    file = export_onnx(source, GraphOptions(SIZE, 4), tmp_path / "four.onnx").path
    four = HumanParser(file, backend="onnxruntime")
    assert four.group_size == 4
    frames = [image for image, _ in iter_samples(8, 6, (128, 96))]
    one = HumanParser(models["schp"], backend="onnxruntime")
    for frame, result in zip(frames, four.parse_batch(frames), strict=True):
        assert (result.labels == one(frame).labels).mean() > 0.9999


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (2, 3), (97, 97)])
def test_frames_of_any_size_are_parsed(tiny_model: Path, shape: tuple[int, int]) -> None:
    result = HumanParser(tiny_model)(np.full((*shape, 3), 127, np.uint8))
    assert result.labels.shape == shape


def test_the_parser_says_what_it_is_and_where_it_runs(tiny_model: Path) -> None:
    text = str(HumanParser(tiny_model, backend="openvino"))
    assert "untrained" in text
    assert "openvino on cpu" in text
    assert isinstance(HumanParser(tiny_model).metadata.geometry, Geometry)


def test_a_stream_of_pictures_names_each_and_goes_on_behind_a_damaged_one(tiny_model: Path, tmp_path: Path) -> None:
    for name in ("a2.png", "a10.png"):
        cv2.imwrite(str(tmp_path / name), np.full((40, 30, 3), 90, np.uint8))
    (tmp_path / "a3.png").write_text("no picture")
    results: list[ParsingResult] = []
    with pytest.raises(MediaError, match=r"a3\.png"):
        results.extend(HumanParser(tiny_model).stream(tmp_path))
    assert [result.source.name for result in results if result.source] == ["a2.png", "a10.png"]


def test_a_stream_of_video_carries_times_and_reports_a_short_film(tiny_model: Path, tmp_path: Path) -> None:
    film = tmp_path / "walk.mkv"
    with VideoWriter(film, 25, (96, 80)) as writer:
        for index, (frame, _) in enumerate(walking_sequence(0, 20, (96, 80))):
            writer.write(frame, index, Fraction(1, 25))
    parser = HumanParser(tiny_model)
    results = list(parser.stream(film))
    assert [result.frame_index for result in results] == list(range(20))
    assert [result.time for result in results] == pytest.approx([index / 25 for index in range(20)], abs=1e-3)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    kept: list[ParsingResult] = []
    with pytest.raises(MediaError, match="cut short or damaged"):
        kept.extend(parser.stream(film))
    assert 0 < len(kept) < 20
