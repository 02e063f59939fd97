"""What training minimises: CE2P's three cross entropies, and SCHP's Lovász, consistency and soft-label terms.

Every head's logits are upsampled to the labels' size with the network's own align_corners, then, in float32 whatever
precision the network runs in:

- `stage1` and `parsing`: cross entropy of the two parsings, 255 ignored (CE2P utils/criterion.py). With a teacher the
  target is soft (SCHP utils/criterion.py): n/(n+1) of the teacher's probabilities and 1/(n+1) of the label after n
  self-correction cycles, compared by Kullback-Leibler divergence.
- `stage1_lovasz` and `parsing_lovasz`: see `lovasz_softmax`. Of each process's own pixels, as published
  (per GPU there).
- `edge`: cross entropy in which edges and the rest weigh the same, each class weighted by the other's share; with a
  teacher, soft as above and unweighted, as in SCHP.
- `stage1_consistency`, `parsing_consistency`: smooth L1 distance between the edges that the parsing makes
  (`edges.soft_edges`) and the edge head's probability, over the pixels where either says edge.

All sums but Lovász's are divided by the count of their pixels over all processes, so that the gradients which
DistributedDataParallel averages are those of one process with the whole batch.

What the public code does otherwise, on purpose or not:

- SCHP utils/consistency_loss.py takes the argmax of both edge maps, which passes no gradient, and compares them only
  where both are 1: it is 0, or NaN where no pixel is left. Here both maps are soft, and either may say edge.
- SCHP utils/criterion.py (moving_average) mixes the teacher's logits with the one-hot label and takes the softmax of
  that, which is no mean of distributions: the label's share is a fixed bonus of at most 1 on a logit. Here
  probabilities are mixed.
- SCHP utils/criterion.py (to_one_hot) writes 0 over 255 in the labels themselves: from cycle 1 on, every term after
  the first one trains ignored pixels as background. Here the labels are left alone.
- SCHP utils/kl_loss.py takes the mean over pixels times classes: the parsing's soft target counts 1/C, the edge's 1/2
  of what the hard one did. Here the mean is over pixels.
- CE2P and SCHP utils/criterion.py: a batch without edges weighs everything by 0 and gives 0/0. Here the mean of what
  there is counts; the same goes for pictures in which everything is ignored, which give 0.
- All of them normalise per GPU, so that a picture's weight depends on its neighbours there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..labels import IGNORE
from ..models.network import CE2POutputs
from .edges import soft_edges
from .recipe import LossConfig

_EDGE = 1
"""Class of the edge head that says "edge"."""


class Terms(dict[str, Tensor]):
    """The loss, term by term: scalars with a gradient, each already multiplied by its weight."""

    @property
    def total(self) -> Tensor:
        """What to minimise."""
        return torch.stack(list(self.values())).sum()


class Criterion:
    """The loss of one batch, or of one process's share of it.

    `class_weights` [C] is ours, for data where classes are rare (None: as published). `reduce_sum` adds a tensor over
    all `world` processes; it is called the same number of times, in the same order, in each of them.
    """

    def __init__(
        self,
        config: LossConfig,
        align_corners: bool,
        num_classes: int,
        class_weights: Tensor | None = None,
        reduce_sum: Callable[[Tensor], Tensor] = lambda value: value,
        world: int = 1,
    ) -> None:
        if class_weights is not None and class_weights.shape != (num_classes,):
            raise ValueError(f"class weights of shape {tuple(class_weights.shape)} for {num_classes} classes")
        self.config, self.align_corners = config, align_corners
        self.class_weights = torch.ones(num_classes) if class_weights is None else class_weights.float()
        self.reduce_sum, self.world = reduce_sum, world

    def __call__(
        self, outputs: CE2POutputs, labels: Tensor, edges: Tensor, teacher: CE2POutputs | None = None, cycle: int = 0
    ) -> Terms:
        """The terms with a weight above 0, and always `stage1`, `parsing` and `edge`, so that each head is trained.

        labels, edges: int64 [N, H, W], 255 ignored. `teacher`: the self-correction teacher's outputs for the same
        pictures, once it is the mean of `cycle` >= 1 networks. Raises ValueError when one comes without the other, or
        when a head was dropped.
        """
        if outputs.stage1 is None or outputs.edge is None:
            raise ValueError("training needs all three outputs; this network has dropped heads")
        if (teacher is None) != (cycle == 0):
            raise ValueError(f"cycle {cycle} {'without' if teacher is None else 'with'} a teacher")
        with torch.autocast(labels.device.type, enabled=False):
            return self._terms(
                outputs.stage1, outputs.parsing, outputs.edge, labels, edges=edges, teacher=teacher, cycle=cycle
            )

    def _terms(
        self,
        stage1: Tensor,
        parsing: Tensor,
        edge: Tensor,
        labels: Tensor,
        edges: Tensor,
        teacher: CE2POutputs | None,
        cycle: int,
    ) -> Terms:
        config, terms, counted = self.config, Terms(), labels != IGNORE
        edge_log = self._log_probabilities(edge, labels)
        target = None if teacher is None else self._soft_target(teacher.parsing, labels, cycle)
        for name, logits, weight in (("stage1", stage1, config.stage1), ("parsing", parsing, config.parsing)):
            log = self._log_probabilities(logits, labels)
            terms[name] = weight * config.cross_entropy * self._parsing(log, labels, target)
            probabilities = log.exp() if config.lovasz or config.consistency else log
            if config.lovasz:
                terms[f"{name}_lovasz"] = weight * config.lovasz * lovasz_softmax(probabilities, labels)
            if config.consistency:
                distance = self._consistency(probabilities, edge_log[:, _EDGE].exp(), counted)
                terms[f"{name}_consistency"] = config.consistency * distance
        if teacher is None:
            terms["edge"] = config.edge * self._edge(edge_log, edges)
        else:
            assert teacher.edge is not None  # noqa: S101  (a teacher is a copy of the network, which has its heads)
            marked = torch.where(counted, edges, IGNORE)
            terms["edge"] = config.edge * self._soft_edge(edge_log, marked, teacher.edge, cycle)
        return terms

    def _log_probabilities(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[N, C, h, w] of any precision -> float32 [N, C, H, W] at the labels' size."""
        full = F.interpolate(logits.float(), size=labels.shape[1:], mode="bilinear", align_corners=self.align_corners)
        return F.log_softmax(full, dim=1)

    def _parsing(self, log: Tensor, labels: Tensor, target: Tensor | None) -> Tensor:
        """Weighted mean over the pixels that count, against the labels or against a soft target [N, C, H, W]."""
        self.class_weights = self.class_weights.to(log.device)
        counted = labels != IGNORE
        weights = self.class_weights[labels.where(counted, 0)] * counted
        if target is None:
            total = F.nll_loss(log, labels, self.class_weights, ignore_index=IGNORE, reduction="sum")
        else:
            total = (F.kl_div(log, target, reduction="none").sum(1) * weights).sum()
        (count,) = self._counts(weights)
        return self._mean(total, count)

    def _edge(self, log: Tensor, edges: Tensor) -> Tensor:
        others, marked = self._counts(edges == 0, edges == _EDGE)
        pixels = others + marked
        shares = torch.stack([marked, others]) / pixels.clamp(min=1)  # each class's weight is the other's share
        if self.config.edge_balance == "weights":
            shares = shares.clamp(min=1e-6)  # without edges all that is there would weigh 0, and 0/0 is no loss
        total = F.nll_loss(log, edges, shares, ignore_index=IGNORE, reduction="sum")
        by_weights = shares[0] * others + shares[1] * marked
        return self._mean(total, by_weights if self.config.edge_balance == "weights" else pixels)

    def _soft_edge(self, log: Tensor, edges: Tensor, teacher: Tensor, cycle: int) -> Tensor:
        counted = edges != IGNORE
        divergence = F.kl_div(log, self._soft_target(teacher, edges, cycle), reduction="none").sum(1)
        (count,) = self._counts(counted)
        return self._mean((divergence * counted).sum(), count)

    def _soft_target(self, teacher: Tensor, labels: Tensor, cycle: int) -> Tensor:
        """Probabilities [N, C, H, W]: the teacher's and the label's, which counts as one network more."""
        share = 1 / (cycle + 1)
        target = self._log_probabilities(teacher.detach(), labels).exp_().mul_(1 - share)
        known = labels.where(labels != IGNORE, 0)  # any class will do where the pixel is left out afterwards
        return target.scatter_add_(1, known[:, None], torch.full_like(target[:, :1], share))

    def _consistency(self, probabilities: Tensor, edge: Tensor, counted: Tensor) -> Tensor:
        made = soft_edges(probabilities, counted)
        either = counted & ((made > 0.5) | (edge > 0.5))
        (count,) = self._counts(either)
        return self._mean((F.smooth_l1_loss(made, edge, reduction="none") * either).sum(), count)

    def _counts(self, *pixels: Tensor) -> Tensor:
        """The sum of each over all processes, in one exchange."""
        return self.reduce_sum(torch.stack([counted.sum(dtype=torch.float32) for counted in pixels]))

    def _mean(self, total: Tensor, count: Tensor) -> Tensor:
        """This process's part of a mean over all: the average over processes of these parts is that mean."""
        return self.world * total / torch.where(count > 0, count, 1)


def class_weights_from(counts: Tensor) -> Tensor:
    """Pixels of each class [C] -> float32 weights [C]: the root of the rarity, between 0.2 and 4.

    Rarity is the median count over the count, since small parts weigh as much as large ones in the mean IoU. Classes
    that never occur get 1 and stay out of the median.
    """
    counts = counts.double()
    present = counts > 0
    if not present.any():
        raise ValueError("no pixel of any class; class weights need a data set that was counted")
    weights = (counts[present].median() / counts.clamp(min=1)).sqrt().clamp(0.2, 4)
    return torch.where(present, weights, 1).float()


def lovasz_softmax(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Lovász-Softmax, a convex surrogate of the Jaccard loss (Berman, Triki and Blaschko, CVPR 2018, sections 2 and 3).

    For one class, let m be the pixels' errors (1 - p on the class's own pixels, p elsewhere) and Δ(S) the Jaccard loss
    1 - IoU of a prediction that is wrong on exactly the pixels of S. The loss is the Lovász extension of Δ: with the
    errors sorted in falling order, Σ m_i (Δ of the first i pixels - Δ of the first i-1). It is the mean over the
    classes present in `labels`, all pictures taken as one set of pixels.

    probabilities: float32 [N, C, H, W]; labels: int64 [N, H, W], 255 ignored. Scalar; 0 where no pixel counts.
    """
    counted = labels != IGNORE
    found = labels[counted]
    columns = probabilities.movedim(1, -1)[counted]  # [P, C]
    present = torch.unique(found)
    if not len(present):
        return probabilities.sum() * 0  # stays connected, so that every process has a gradient to share
    losses = [_class_loss(columns[:, label], found == label) for label in present.tolist()]
    return torch.stack(losses).mean()


def _class_loss(probability: Tensor, inside: Tensor) -> Tensor:
    """One class. probability: [P]; inside: bool [P], the class's own pixels, at least one of them."""
    member = inside.to(probability.dtype)
    errors, order = torch.sort((member - probability).abs(), descending=True)
    return torch.dot(errors, _steps(member[order]))


def _steps(member: Tensor) -> Tensor:
    """Growth of the Jaccard loss as pixels become wrong one after the other: [P], not negative, sums to 1.

    member: [P], 1 for the class's own pixels and 0 for all others.

    With I pixels right and a union of U, a wrong pixel of the class takes one from I: Δ grows by 1/U. Any other wrong
    pixel adds one to the union: Δ grows by I/(U-1) - I/U = I/(U(U-1)), U being the new union. Written so, nothing
    cancels, where differences of Δ itself would in float32.
    """
    total = member.sum()
    intersection = total - member.cumsum(0)
    union = total + (1 - member).cumsum(0)
    return torch.where(member > 0, 1, intersection / (union - 1).clamp(min=1)) / union
