"""Scores of a network in training: by the runtime's own parser, so that they are those of the exported file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ce2p.data.splits import Sample
from ce2p.evaluation.scoring import read_pair, score
from ce2p.evaluation.sheets import beside, sheet
from ce2p.labels import LabelSet
from ce2p.models import CE2P
from ce2p.training.run import Validate
from ce2p_export.torch_backend import TorchBackend
from ce2p_runtime import HumanParser
from ce2p_runtime.media.pictures import write_picture

SHOWN = 6
"""Pictures on a sheet."""


def validator(
    samples: Sequence[Sample], labels: LabelSet, size: tuple[int, int], device: torch.device, folder: Path
) -> Validate:
    """A function of (network, epoch) that scores it on `samples` and paints the first of them into `folder`."""

    def validate(net: CE2P, epoch: int) -> Mapping[str, float]:
        weights = f"in training, after epoch {epoch + 1}"
        # In the layout that it trains in: another one would have its weights converted to and fro.
        backend = TorchBackend(net, labels, size, device, weights, channels_last=True)
        parser = HumanParser.on(backend, name="network in training")
        scores = score(parser, samples, labels)
        paint_sheet(folder / f"epoch-{epoch + 1:04d}.jpg", parser, samples[:SHOWN], labels)
        return scores.means()

    return validate


def paint_sheet(path: Path, parser: HumanParser, samples: Sequence[Sample], labels: LabelSet) -> None:
    """Input | truth | prediction of a few pictures, as one picture. Raises DataError and MediaError."""
    rows = []
    for sample in samples:
        image, truth = read_pair(sample, labels)
        rows.append(beside(image, truth, parser(image)))
    write_picture(path, sheet(rows))
