"""Benchmark of the fused CPU ops against the usual ways: check first, then time, interleaved.

    python -m benchmarks.bench_ops [--frames 720p 1080p 4k] [--threads 1] [--people 1] [--json FILE]

Rivals of label_map: `public` does as SCHP's simple_extractor.py (torch upsampling, cv2.warpAffine per class,
stack, argmax over the last axis); `cv2` the same work arranged for speed (no torch, class planes, argmax over
the first axis); `cv2 max` keeps only the best class so far, the best dense way we know; `torch` upsampling,
grid_sample and argmax. label_map is timed on synthetic people, which is what networks answer, and on smooth and
white noise, which is the most border there can be. Rivals of warp_normalize: cv2.warpAffine, then NumPy or
torch arithmetic. Exit status 1 when a check fails; nothing is timed then.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.record import Record, write_records
from benchmarks.scenes import person_logits, photo
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.measuring.timing import interleave, paired_ratio
from ce2p_runtime.model_files.metadata import Geometry, Normalisation
from ce2p_runtime.ops import label_map, label_map_reference, warp_normalize, warp_normalize_reference

FRAMES = {"720p": (720, 1280), "1080p": (1080, 1920), "4k": (2160, 3840), "portrait": (1920, 1080)}
SCHP = Geometry(kind="affine", half_pixel=False, centre="float", unwarp="logits")
SCHP_PIXELS = Normalisation("bgr", 1 / 255, (0.406, 0.456, 0.485), (0.225, 0.224, 0.229))
Candidates = dict[str, Callable[[], Any]]
# Agreement below this is not the same op. OpenCV 4 rounds coordinates to 1/32 pixel and so moves borders.
LEAST_AGREEMENT = {"people": 0.999, "smooth": 0.99, "noise": 0.95}


def label_map_candidates(
    logits: NDArray[np.float32], matrix: NDArray[np.float64], size: tuple[int, int], frame: tuple[int, int]
) -> Candidates:
    """The fused op and the usual ways, as callables that return the label map [H, W]."""
    classes = len(logits)
    planes = np.empty((classes, *frame), np.float32)
    scale_y, scale_x = ((s - 1) / (t - 1) for s, t in zip(logits.shape[1:], size, strict=True))
    upsample = np.array([[scale_x, 0, 0], [0, scale_y, 0]])
    inverse_map = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def with_cv2() -> Any:
        for source, plane in zip(logits, planes, strict=True):
            large = cv2.warpAffine(source, upsample, size[::-1], flags=inverse_map, borderMode=cv2.BORDER_REPLICATE)
            cv2.warpAffine(large, matrix, frame[::-1], dst=plane, flags=inverse_map)
        return np.argmax(planes, axis=0)

    def with_cv2_max() -> Any:
        best, labels = np.full(frame, -np.inf, np.float32), np.zeros(frame, np.uint8)
        for index, source in enumerate(logits):
            large = cv2.warpAffine(source, upsample, size[::-1], flags=inverse_map, borderMode=cv2.BORDER_REPLICATE)
            plane = cv2.warpAffine(large, matrix, frame[::-1], dst=planes[0], flags=inverse_map)
            better = cv2.compare(plane, best, cv2.CMP_GT)
            # A later class has the greater number, so a maximum of bytes replaces a masked copy.
            np.maximum(labels, np.minimum(better, np.uint8(index)), out=labels)
            cv2.max(best, plane, dst=best)
        return labels

    found: Candidates = {
        "fused": lambda: label_map(logits, matrix, size, frame, align_corners=True),
        "cv2": with_cv2,
        "cv2 max": with_cv2_max,
    }
    return found | _torch_label_maps(logits, matrix, size, frame)


def _torch_label_maps(
    logits: NDArray[np.float32], matrix: NDArray[np.float64], size: tuple[int, int], frame: tuple[int, int]
) -> Candidates:
    """The two rivals that need torch; none where it is not installed."""
    try:
        import torch
        import torch.nn.functional as F
    except ImportError:
        return {}
    tensor = torch.from_numpy(logits)[None]
    # grid_sample wants coordinates where -1 and 1 are the centres of the first and last sample.
    x = matrix[0, 0] * np.arange(frame[1]) + matrix[0, 2]
    y = matrix[1, 1] * np.arange(frame[0]) + matrix[1, 2]
    grid_x, grid_y = np.meshgrid(x * 2 / (size[1] - 1) - 1, y * 2 / (size[0] - 1) - 1)
    grid = torch.from_numpy(np.stack([grid_x, grid_y], axis=-1).astype(np.float32))[None]

    def public() -> Any:
        large = F.interpolate(tensor, size, mode="bilinear", align_corners=True)[0].permute(1, 2, 0).numpy()
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = [cv2.warpAffine(large[:, :, c], matrix, frame[::-1], flags=flags) for c in range(len(logits))]
        return np.argmax(np.stack(warped, axis=2), axis=2)

    def with_torch() -> Any:
        large = F.interpolate(tensor, size, mode="bilinear", align_corners=True)
        return F.grid_sample(large, grid, align_corners=True)[0].argmax(dim=0).numpy()

    return {"torch": with_torch, "public": public}


def warp_normalize_candidates(
    frame: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]
) -> Candidates:
    """The fused op and the usual ways, as callables that return the input [3, S_h, S_w]."""
    mean, std = (np.array(values, np.float32) for values in (SCHP_PIXELS.mean, SCHP_PIXELS.std))
    out = np.empty((3, *size), np.float32)

    def with_numpy() -> NDArray[np.float32]:
        crop = cv2.warpAffine(frame, matrix, size[::-1], flags=cv2.INTER_LINEAR)
        values = (crop.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    found: Candidates = {
        "fused": lambda: warp_normalize(frame, matrix, size, SCHP_PIXELS, out=out),
        "cv2": with_numpy,
    }
    try:
        import torch
    except ImportError:
        return found
    torch_mean, torch_std = torch.from_numpy(mean)[:, None, None], torch.from_numpy(std)[:, None, None]

    def with_torch() -> Any:
        crop = cv2.warpAffine(frame, matrix, size[::-1], flags=cv2.INTER_LINEAR)
        values = torch.from_numpy(crop.transpose(2, 0, 1)).contiguous().float().div(255)
        return values.sub_(torch_mean).div_(torch_std).numpy()

    return found | {"torch": with_torch}


def check_label_map(
    candidates: Candidates,
    logits: NDArray[np.float32],
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    frame: tuple[int, int],
    least: float,
) -> dict[str, float]:
    """Share of pixels where each candidate equals the reference. Raises AssertionError where too few do: less than
    `least` of the rivals'."""
    reference = label_map_reference(logits, matrix, size, frame, align_corners=True)
    agreement = {name: float(np.mean(run() == reference)) for name, run in candidates.items()}
    assert agreement["fused"] > 1 - 1e-6, f"fused label_map differs from its reference: {agreement}"
    assert min(agreement.values()) >= least, f"a rival computes something else: {agreement}"
    return agreement


def check_warp_normalize(
    candidates: Candidates, frame: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]
) -> dict[str, float]:
    """Greatest difference from the reference in grey levels. Raises AssertionError above one level
    (photograph)."""
    reference = warp_normalize_reference(frame, matrix, size, SCHP_PIXELS)
    level = SCHP_PIXELS.scale / min(SCHP_PIXELS.std)
    difference = {name: float(np.abs(run() - reference).max() / level) for name, run in candidates.items()}
    assert max(difference.values()) < 1.01, f"warp_normalize differs from its reference: {difference} levels"
    return difference


def bench_frame(name: str, options: argparse.Namespace) -> list[Record]:
    """Check and time both ops for one frame size."""
    frame, size, low = FRAMES[name], (options.input, options.input), (options.input // 4 + 1,) * 2
    mapping = frame_mapping(SCHP, frame, size)
    assert mapping.forward is not None
    assert mapping.unwarp is not None
    settings = {"frame": name, "input": options.input, "threads": options.threads}
    pixels = photo(frame)
    warps = warp_normalize_candidates(pixels, mapping.forward, size)
    checks = check_warp_normalize(warps, pixels, mapping.forward, size)
    records = [Record("warp_normalize", settings, interleave(warps, options.rounds), checks)]
    settings = settings | {"classes": options.classes, "logits": low, "people": options.people}
    for scene, least in LEAST_AGREEMENT.items():
        logits = _logits(scene, options.classes, low, frame[1] / frame[0], options.people)
        maps = label_map_candidates(logits, mapping.unwarp, size, frame)
        checks = check_label_map(maps, logits, mapping.unwarp, size, frame, least)
        subject = "label_map" if scene == "people" else f"label_map {scene}"
        records.append(Record(subject, settings, interleave(maps, options.rounds), checks))
    return records


def _logits(scene: str, classes: int, size: tuple[int, int], frame_aspect: float, people: int) -> NDArray[np.float32]:
    """float32 [classes, *size]: synthetic people, or noise that is smooth over a sample or not at all."""
    if scene == "people":
        return person_logits(classes, size, frame_aspect, people)
    noise = np.random.default_rng(0).standard_normal((classes, *size)).astype(np.float32)
    return noise if scene == "noise" else np.stack([cv2.GaussianBlur(plane, (0, 0), 1.0) for plane in noise])


def table(records: list[Record]) -> str:
    """The records as aligned text; "fused is" is the median of the rounds' candidate / fused."""
    heads = f"{'candidate':<11}{'median ms':>10}{'p95 ms':>10}{'fused is':>10}{'check':>12}"
    lines = [f"{'op':<18}{'frame':<10}{heads}"]
    for record in records:
        fused = record.timings["fused"]
        for name, timing in record.timings.items():
            ratio = "" if name == "fused" else f"{paired_ratio(timing, fused):.1f}x"
            lines.append(
                f"{record.subject:<18}{record.settings['frame']:<10}{name:<11}{timing.median_ms:>10.3f}"
                f"{timing.p95_ms:>10.3f}{ratio:>10}{record.checks[name]:>12.6f}"
            )
    lines.append("check: label_map = share of pixels equal to the reference; warp_normalize = grey levels from it")
    return "\n".join(lines)


def main() -> int:
    """Command line; see the module docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", nargs="+", choices=list(FRAMES), default=["720p", "1080p", "4k"])
    parser.add_argument("--threads", type=int, default=1, help="threads for OpenCV and torch")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--input", type=int, default=473, help="side of the network's input in pixels")
    parser.add_argument("--people", type=int, default=1, help="figures in the scene")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, checks and every sample")
    options = parser.parse_args()
    _set_threads(options.threads)
    records: list[Record] = []
    try:
        for name in options.frames:
            records += bench_frame(name, options)
    except AssertionError as error:
        print(f"check failed, nothing timed: {error}", file=sys.stderr)
        return 1
    print(table(records))
    if options.json:
        write_records(options.json, records)
    return 0


def _set_threads(count: int) -> None:
    cv2.setNumThreads(count)
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(count)


if __name__ == "__main__":
    sys.exit(main())
