"""Benchmark of the augmentations against what others do: check first, then time, interleaved, on one core.

    python -m benchmarks.bench_augmentation [--recipes affine ssseg ssseg-voc crop] [--rounds 15] [--json FILE]

Pictures are synthetic people of 500x400 pixels, the size of a LIP picture, as JPEG and PNG files. Rivals are in
`benchmarks.augmentation_rivals`: the passes of the published codes, and torchvision's transforms v2 on PIL pictures.
All make the same samples: uint8, not normalised. `stages` splits what a data worker does: reading the two files, the
augmentation, the edges within it, and turning the arrays into tensors. Exit status 1 when a check fails; nothing is
timed then.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.augmentation_rivals import published, torchvision
from benchmarks.record import Record, write_records
from ce2p.augmentation import Augmentation, Augmented, build_augmentation, edge_map
from ce2p.data.annotations import read_image, read_labels
from ce2p.data.dataset import ParsingDataset
from ce2p.data.splits import Sample, open_split
from ce2p.labels import label_set
from ce2p.synthetic import write_lip_folder
from ce2p_runtime.measuring.timing import interleave, paired_ratio

PICTURE = (500, 400)
VOC = {"keep_ratio": True, "scale_range": (0.5, 2.0), "rotation_probability": 0.0}
RECIPES: dict[str, tuple[str, dict[str, Any], int]] = {
    "affine": ("affine", {}, 473),
    "ssseg": ("ssseg", {}, 473),
    "ssseg-voc": ("ssseg", VOC, 512),
    "crop": ("crop", {}, 473),
}
"""Name -> kind, parameters, side of the input."""
PUBLISHED_AGREEMENT, TORCHVISION_AGREEMENT = 0.999, 0.97
"""Least share of equal labels. PIL places pixels half a pixel off from OpenCV, and so moves borders."""
Pictures = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def candidates(augmentation: Augmentation) -> dict[str, Augmentation]:
    """Ours and the rivals, each as one call that makes one sample."""
    return {
        "ours": augmentation,
        "published": partial(published, augmentation),  # type: ignore[arg-type]
        "torchvision": partial(torchvision, augmentation),  # type: ignore[arg-type]
    }


def check(
    augmentation: Augmentation, pictures: Pictures, torchvision_agreement: float = TORCHVISION_AGREEMENT
) -> dict[str, Any]:
    """Over all pictures and three seeds: share of labels and edges equal to ours, mean difference in grey levels.

    Raises AssertionError where a rival makes something else.
    """
    found: dict[str, Any] = {}
    for name, rival in candidates(augmentation).items():
        if name == "ours":
            continue
        pairs: list[tuple[Augmented, Augmented]] = []
        for seed in range(3):
            for index, picture in enumerate(pictures):
                key = [seed, index]
                pairs.append(
                    (augmentation(*picture, np.random.default_rng(key)), rival(*picture, np.random.default_rng(key)))
                )
        grey = [np.abs(ours.image.astype(int) - theirs.image).mean() for ours, theirs in pairs]
        found[name] = {
            "labels": float(np.mean([np.mean(ours.labels == theirs.labels) for ours, theirs in pairs])),
            "edges": float(np.mean([np.mean(ours.edges == theirs.edges) for ours, theirs in pairs])),
            "grey levels": float(np.mean(grey)),
        }
    assert found["published"]["labels"] >= PUBLISHED_AGREEMENT, f"not the published augmentation: {found}"
    assert found["published"]["grey levels"] <= 0.5, f"not the published augmentation: {found}"
    assert found["torchvision"]["labels"] >= torchvision_agreement, f"torchvision makes something else: {found}"
    return found


def bench_recipe(name: str, pictures: Pictures, options: argparse.Namespace) -> Record:
    """Check and time one recipe. Times are of `len(pictures)` samples."""
    kind, parameters, side = RECIPES[name]
    augmentation = build_augmentation(kind, parameters, (side, side), label_set("lip"))
    checks = check(augmentation, pictures)
    runs = {key: _run(make, pictures) for key, make in candidates(augmentation).items()}
    settings = {"recipe": name, "parameters": parameters, "input": side, "picture": PICTURE, "samples": len(pictures)}
    return Record("augmentation", settings, interleave(runs, options.rounds), checks)


def _run(make: Augmentation, pictures: Pictures) -> Callable[[], list[Augmented]]:
    """A call that augments every picture, with new draws each time, the same for all candidates in the same round."""
    calls = iter(range(sys.maxsize))

    def run() -> list[Augmented]:
        turn = next(calls)
        return [make(*picture, np.random.default_rng([turn, i])) for i, picture in enumerate(pictures)]

    return run


def bench_stages(name: str, samples: tuple[Sample, ...], pictures: Pictures, options: argparse.Namespace) -> Record:
    """Where the time of a data worker goes, for one recipe."""
    kind, parameters, side = RECIPES[name]
    augmentation = build_augmentation(kind, parameters, (side, side), label_set("lip"))
    made = [augmentation(*picture, np.random.default_rng(i)) for i, picture in enumerate(pictures)]
    data = ParsingDataset(samples, label_set("lip"), augmentation, 0)
    as_made = ParsingDataset(samples, label_set("lip"), lambda image, labels, rng: made[0], 0)
    turns = iter(range(sys.maxsize))

    def whole() -> None:
        epoch = next(turns)
        for index in range(len(samples)):
            data[epoch, index]

    def read() -> None:
        for sample in samples:
            read_image(sample.image)
            assert sample.labels
            read_labels(sample.labels)

    def read_and_tensors() -> None:
        for index in range(len(samples)):
            as_made[0, index]

    stages = {
        "whole sample": whole,
        "read": read,
        "read and to tensors": read_and_tensors,
        "augment": _run(augmentation, pictures),
        "edges": lambda: [edge_map(sample.labels) for sample in made],
    }
    settings = {"recipe": name, "input": side, "picture": PICTURE, "samples": len(pictures)}
    return Record("stages", settings, interleave(stages, options.rounds))


def table(records: list[Record]) -> str:
    """The records as aligned text: milliseconds per sample, samples per second, and what ours gains."""
    lines = [
        f"{'recipe':<12}{'candidate':<22}{'median ms':>10}{'p95 ms':>10}{'images/s':>10}{'ours is':>9}{'labels':>9}"
    ]
    for record in records:
        count = record.settings["samples"]
        for name, timing in record.timings.items():
            gain, equal = "", ""
            if name in record.checks:
                gain = f"{paired_ratio(timing, record.timings['ours']):.1f}x"
                equal = f"{record.checks[name]['labels']:.4f}"
            lines.append(
                f"{record.settings['recipe']:<12}{name:<22}{timing.median_ms / count:>10.2f}"
                f"{timing.p95_ms / count:>10.2f}{1000 * count / timing.median_ms:>10.0f}{gain:>9}{equal:>9}"
            )
    lines.append("one core; p95 is over rounds of that many samples; labels = share equal to ours with the same draws")
    return "\n".join(lines)


def main() -> int:
    """Command line; see the module docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--samples", type=int, default=8, help="pictures, all of which each run augments")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, checks and every sample")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    records: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "people"
        write_lip_folder(root, train=options.samples, val=1, size=PICTURE)
        samples = open_split("lip", root, "train")
        pictures = [(read_image(s.image), read_labels(s.labels)) for s in samples if s.labels]
        try:
            records += [bench_recipe(name, pictures, options) for name in options.recipes]
        except AssertionError as error:
            print(f"check failed, nothing timed: {error}", file=sys.stderr)
            return 1
        records += [bench_stages(name, samples, pictures, options) for name in options.recipes]
    print(table(records))
    if options.json:
        write_records(options.json, records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
