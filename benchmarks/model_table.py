"""docs/MODELS.md: every named model with its published score, size, cost, and the commands to train, score and export.

    python -m benchmarks.model_table --write     after a change of networks, folds or published figures
    python -m benchmarks.model_table --check     status 1 where the file is not what this would write

The figures cost nothing but counting: networks are built on meta tensors, which have shapes and no values, and folding
such a network changes shapes and operations just as it does those of a trained one. Networks that differ in the class
count alone share a count, see `_cost`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from ce2p.datasets import DATASETS, NOISE, PUBLISHED, names_of, published
from ce2p.families import default_input_size
from ce2p.flops import count_parameters
from ce2p.labels import label_set
from ce2p.models import CE2P, CE2PConfig
from ce2p_export import deploy

TARGET = Path(__file__).parent.parent / "docs" / "MODELS.md"
FAMILY = "ssseg"
TRAINED = names_of(layout=True, published=True)
ROWS = (("r50", 8), ("r50", 16), ("r101", 8), ("r101", 16))
_TITLES = {"r50": "ResNet-50", "r101": "ResNet-101"}
_BACKBONES = {"r50": "resnet50_v1c-2cccc1ad.pth", "r101": "resnet101_v1c-e67eebb6.pth"}
_COUNTED = 20
"""Classes of the networks whose operations are counted in full."""

HEAD = f"""# Models

<!-- Written by `python -m benchmarks.model_table --write`; a test holds it up to date. -->

The rows of sssegmentation's CE2P tables, recipe `ssseg`: LR 0.01, poly, batch 32 and 150 epochs (VOC: 16 and 60).
Pascal-Person-Part is a row of ours, with LIP's schedule; nobody published it for these networks.

Published mIoU is that of sssegmentation at commit eb1878c1 (docs/modelzoo/ce2p/README.md; the same numbers since
b7fb5bd9, 16 December 2020): single scale, no flipping. {NOISE} GFLOP counts two operations per multiplication with
addition, batch 1, at the row's input size; "folded" is what `ce2p export` writes. Parameters are those of training.
"""

COMMANDS_HEAD = """## Commands

`--backbone` starts from ImageNet weights, as the recipe does; both files lie at
https://download.openmmlab.com/pretrain/third_party/. Training that was killed goes on with `--resume`. `ce2p val`
prints the published figure beside its own; `--flip` adds the mirrored picture, which the published figures of these
rows lack. For an engine, `ce2p export ... --format engine`.
"""

OTHER_HEAD = """## Other published figures

The same rows in sssegmentation's older tables, whose network was `ssseg-2020`, and other families. `ce2p val` prints
those of a network beside its score.

| network | data | metric | published | where | how |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Cost:
    """Of one network."""

    parameters: int
    flops: int
    folded: int


def main() -> None:
    """Write the file, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    text = document()
    if parser.parse_args().write:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(text, "utf-8")
    elif not TARGET.is_file() or TARGET.read_text("utf-8") != text:
        sys.exit(f"{TARGET}: not up to date; run python -m benchmarks.model_table --write")


def document() -> str:
    """The whole file."""
    parts = [HEAD, _table(), COMMANDS_HEAD, *(_commands(dataset) for dataset in TRAINED), OTHER_HEAD + _others()]
    return "\n".join(parts)


def cost(dataset: str, backbone: str, stride: int) -> Cost:
    """Parameters and operations of a row's network at its input size."""
    return _cost(backbone, stride, label_set(dataset).num_classes, default_input_size(FAMILY, dataset))


def _cost(backbone: str, stride: int, classes: int, side: int) -> Cost:
    """Classes take part in the two classifiers alone, which are the same for all rows: parameters and operations grow
    by equal steps from class to class, and one step is measured on the cheapest network."""
    counted = _counted(backbone, stride, _COUNTED, side)
    if classes == _COUNTED:
        return counted
    some, more = (_counted(*ROWS[1], count, side) for count in (_COUNTED, _COUNTED + 1))
    extra = classes - _COUNTED
    return Cost(
        counted.parameters + extra * (more.parameters - some.parameters),
        counted.flops + extra * (more.flops - some.flops),
        counted.folded + extra * (more.folded - some.folded),
    )


@cache
def _counted(backbone: str, stride: int, classes: int, side: int) -> Cost:
    """Counted on a network without values."""
    with torch.device("meta"):
        net = CE2P(CE2PConfig.of(FAMILY, backbone, stride, classes))
    folded = deploy(net, (side, side))
    return Cost(count_parameters(net), folded.flops_before, folded.flops_after)


def _table() -> str:
    lines = [
        "| model | data | backbone | stride | input | published mIoU | parameters | GFLOP | folded |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for dataset in TRAINED:
        side = default_input_size(FAMILY, dataset)
        for backbone, stride in ROWS:
            figures = published(FAMILY, dataset, backbone, stride)
            value = f"{figures[0].value:.2f}" if figures else "none (ours)"
            own = cost(dataset, backbone, stride)
            saved = 1 - own.folded / own.flops
            lines.append(
                f"| `{dataset}-{backbone}-os{stride}` | {label_set(dataset).title} | {_TITLES[backbone]} | {stride} "
                f"| {side}x{side} | {value} | {own.parameters / 1e6:.2f} M | {own.flops / 1e9:.1f} "
                f"| {own.folded / 1e9:.1f} (-{saved:.1%}) |"
            )
    return "\n".join(lines) + "\n"


def _commands(dataset: str) -> str:
    layout = DATASETS[dataset].layout
    side, folder = default_input_size(FAMILY, dataset), (layout and layout.home) or dataset.upper()
    blocks = []
    for backbone, stride in ROWS:
        name = f"{dataset}-{backbone}-os{stride}"
        blocks.append(
            f"ce2p train {name} --data {folder} --backbone {_BACKBONES[backbone]} -o runs/{name}\n"
            f"ce2p val runs/{name}/best.safetensors --data {folder}\n"
            f"ce2p export runs/{name}/best.safetensors --imgsz {side}"
        )
    return f"### {label_set(dataset).title}\n\n```sh\n" + "\n\n".join(blocks) + "\n```\n"


def _others() -> str:
    rows = [figure for figure in PUBLISHED if figure.family != FAMILY]
    return "".join(
        f"| {f.family} {f.backbone} os{f.stride} | {f.dataset} | {f.metric} | {f.value:.2f} | {f.source} | {f.note} |\n"
        for f in rows
    )


if __name__ == "__main__":
    main()
