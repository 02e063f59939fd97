"""Every loss term against a formula written anew, and the properties that training rests on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ce2p.models.network import CE2POutputs
from ce2p.training.edges import edge_labels, soft_edges
from ce2p.training.losses import Criterion, class_weights_from, lovasz_softmax
from ce2p.training.recipe import LossConfig

SCHP = LossConfig(cross_entropy=0.5, lovasz=0.5, consistency=0.1)


def outputs(seed: int, pictures: int = 2, classes: int = 4, size: int = 4) -> CE2POutputs:
    generator = torch.Generator().manual_seed(seed)

    def logits(channels: int) -> Tensor:
        return torch.randn(pictures, channels, size, size, generator=generator).requires_grad_()

    return CE2POutputs(logits(classes), logits(classes), logits(2))


def targets(seed: int, pictures: int = 2, classes: int = 4, size: int = 9) -> tuple[Tensor, Tensor]:
    """Labels in patches with some ignored pixels, and their edges with some ignored as padding is."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, classes, (pictures, 1, 3, 3), generator=generator).float()
    labels = F.interpolate(coarse, size=(size, size))[:, 0].long()
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    edges = edge_labels(labels)
    labels[0, :2] = edges[0, :2] = 255
    return labels, edges


def full(logits: Tensor, size: int = 9) -> Tensor:
    return F.interpolate(logits, size=(size, size), mode="bilinear", align_corners=True)


def confident(labels: Tensor, classes: int, by: float = 30.0) -> Tensor:
    return by * F.one_hot(labels, classes).permute(0, 3, 1, 2).float()


# CE2P and sssegmentation


def halves() -> tuple[Tensor, Tensor]:
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[0, :, 4:] = 1
    return labels, edge_labels(labels)


def test_confident_right_answers_cost_nearly_nothing_and_wrong_ones_much() -> None:
    labels, edges = halves()
    right, edge = confident(labels, 3), confident(edges, 2)
    criterion = Criterion(LossConfig(), True, 3)
    assert criterion(CE2POutputs(right, right, edge), labels, edges).total.item() < 1e-3
    wrong = criterion(CE2POutputs(right.roll(1, 1), right, edge), labels, edges)
    assert wrong["parsing"].item() == pytest.approx(30)
    assert wrong["stage1"].item() < 1e-3


def test_the_published_terms_equal_torch_cross_entropy() -> None:
    predicted, (labels, edges) = outputs(1), targets(2)
    terms = Criterion(LossConfig(), True, 4)(predicted, labels, edges)
    assert list(terms) == ["stage1", "parsing", "edge"]
    parsing = F.cross_entropy(full(predicted.parsing), labels, ignore_index=255)
    positive, negative = (edges == 1).sum(), (edges == 0).sum()
    weights = torch.stack([positive, negative]) / (positive + negative)
    edge = F.cross_entropy(full(predicted.edge), edges, weights, ignore_index=255)
    assert terms["parsing"].item() == pytest.approx(parsing.item(), rel=1e-6)
    assert terms["edge"].item() == pytest.approx(edge.item(), rel=1e-6)
    assert terms.total.item() == pytest.approx(sum(term.item() for term in terms.values()), rel=1e-6)


def test_the_edge_classes_weigh_the_same_or_by_pixels() -> None:
    labels, edges = halves()
    parsing = confident(labels, 3)
    sure = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8)  # "no edge" everywhere
    missed, right = math.log(1 + math.exp(2)), math.log(1 + math.exp(-2))
    share = edges.float().mean().item()
    predicted = CE2POutputs(parsing, parsing, sure)
    by_weights = Criterion(LossConfig(), True, 3)(predicted, labels, edges)["edge"].item()
    by_pixels = Criterion(LossConfig(edge_balance="pixels"), True, 3)(predicted, labels, edges)["edge"].item()
    assert by_weights == pytest.approx((missed + right) / 2, rel=1e-5)
    # sssegmentation's norm_loss_with_class_weight=False: the same weights, divided by the number of pixels
    assert by_pixels == pytest.approx(share * (1 - share) * (missed + right), rel=1e-5)


@pytest.mark.parametrize("align_corners", [True, False])
def test_logits_are_upsampled_as_the_network_does_inside(align_corners: bool) -> None:
    predicted, (labels, edges) = outputs(3), targets(4)
    terms = Criterion(LossConfig(), align_corners, 4)(predicted, labels, edges)
    large = F.interpolate(predicted.parsing, size=(9, 9), mode="bilinear", align_corners=align_corners)
    assert terms["parsing"].item() == pytest.approx(F.cross_entropy(large, labels, ignore_index=255).item(), rel=1e-6)


def test_class_weights_are_those_of_a_weighted_mean() -> None:
    predicted, (labels, edges) = outputs(5), targets(6)
    weights = torch.tensor([0.2, 1.0, 2.0, 4.0])
    terms = Criterion(LossConfig(), True, 4, weights)(predicted, labels, edges)
    expected = F.cross_entropy(full(predicted.parsing), labels, weights, ignore_index=255)
    assert terms["parsing"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_weights_of_the_terms_are_factors() -> None:
    predicted, (labels, edges) = outputs(7), targets(8)
    plain = Criterion(LossConfig(), True, 4)(predicted, labels, edges)
    weighted = Criterion(LossConfig(stage1=0.5, edge=3, cross_entropy=2), True, 4)(predicted, labels, edges)
    assert weighted["stage1"].item() == pytest.approx(plain["stage1"].item(), rel=1e-6)  # 0.5 * 2
    assert weighted["parsing"].item() == pytest.approx(2 * plain["parsing"].item(), rel=1e-6)
    assert weighted["edge"].item() == pytest.approx(3 * plain["edge"].item(), rel=1e-6)


def test_class_weights_are_the_root_of_the_rarity_within_limits() -> None:
    counts = torch.tensor([10_000, 400, 100, 1, 0])  # the median of those that occur is 100
    assert class_weights_from(counts).tolist() == pytest.approx([0.2, 0.5, 1.0, 4.0, 1.0])
    assert class_weights_from(torch.tensor([0, 0, 0, 9, 9])).tolist() == [1, 1, 1, 1, 1]
    with pytest.raises(ValueError, match="no pixel"):
        class_weights_from(torch.zeros(3))


def test_misuse_is_refused() -> None:
    predicted, (labels, edges) = outputs(9), targets(10)
    with pytest.raises(ValueError, match="all three"):
        Criterion(LossConfig(), True, 4)(predicted._replace(edge=None), labels, edges)
    with pytest.raises(ValueError, match="cycle 0 with a teacher"):
        Criterion(LossConfig(), True, 4)(predicted, labels, edges, predicted, 0)
    with pytest.raises(ValueError, match="cycle 2 without a teacher"):
        Criterion(LossConfig(), True, 4)(predicted, labels, edges, None, 2)
    with pytest.raises(ValueError, match="4 classes"):
        Criterion(LossConfig(), True, 4, torch.ones(3))


# Lovász


def jaccard_loss(wrong: set[int], inside: set[int]) -> float:
    """1 - IoU of a prediction that errs on exactly these pixels; 0 for no error."""
    return len(wrong) / len(wrong | inside)


def lovasz_by_thresholds(probabilities: Tensor, labels: Tensor) -> float:
    """The extension as an integral: of the Jaccard loss of {errors >= t} over t from 0 to 1, for each class."""
    found, losses = labels.flatten().tolist(), []
    for label in sorted(set(found) - {255}):
        pixels = [(i, p) for i, p in enumerate(probabilities[0, label].flatten().tolist()) if found[i] != 255]
        inside = {i for i, _ in pixels if found[i] == label}
        errors = {i: 1 - p if i in inside else p for i, p in pixels}
        steps = [0.0, *sorted(set(errors.values()))]
        losses.append(
            sum(
                (high - low) * jaccard_loss({i for i, error in errors.items() if error >= high}, inside)
                for low, high in itertools.pairwise(steps)
            )
        )
    return sum(losses) / len(losses)


@pytest.mark.parametrize("seed", range(6))
def test_lovasz_equals_the_integral_over_all_thresholds(seed: int) -> None:
    torch.manual_seed(seed)
    probabilities = torch.randn(1, 3, 4, 5, dtype=torch.float64).softmax(1)
    labels = torch.randint(0, 2 + seed % 2, (1, 4, 5))  # with even seeds, class 2 is absent
    labels[0, 0, :3] = 255
    found = lovasz_softmax(probabilities, labels).item()
    assert found == pytest.approx(lovasz_by_thresholds(probabilities, labels), abs=1e-7)


def test_lovasz_of_certain_answers_is_the_jaccard_loss() -> None:
    labels = torch.tensor([[[0, 0, 0, 1, 1, 1, 1, 1]]])
    predicted = torch.tensor([[[0, 1, 0, 0, 1, 1, 1, 1]]])
    loss = lovasz_softmax(F.one_hot(predicted, 3).permute(0, 3, 1, 2).double(), labels).item()
    assert loss == pytest.approx(((1 - 2 / 4) + (1 - 4 / 6)) / 2)


def test_lovasz_has_the_gradient_of_its_finite_differences() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (2, 3, 4))
    labels[0, 0, 0] = 255
    assert torch.autograd.gradcheck(lambda x: lovasz_softmax(x.softmax(1), labels), (logits,), atol=1e-6)


def test_lovasz_terms_are_half_of_each_parsing_in_schp() -> None:
    predicted, (labels, edges) = outputs(11), targets(12)
    terms = Criterion(SCHP, True, 4)(predicted, labels, edges)
    assert list(terms) == [
        "stage1",
        "stage1_lovasz",
        "stage1_consistency",
        "parsing",
        "parsing_lovasz",
        "parsing_consistency",
        "edge",
    ]
    expected = 0.5 * lovasz_softmax(full(predicted.parsing).softmax(1), labels)
    assert terms["parsing_lovasz"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["parsing"].item() == pytest.approx(
        0.5 * F.cross_entropy(full(predicted.parsing), labels, ignore_index=255).item(), rel=1e-5
    )


# Consistency


def test_consistency_is_zero_where_both_agree_and_has_a_gradient_where_not() -> None:
    labels, edges = halves()
    parsing = confident(labels, 3, 4.0).requires_grad_()
    agreeing = confident(edges, 2)
    criterion = Criterion(LossConfig(consistency=1), True, 3)
    sure = confident(labels, 3)
    assert criterion(CE2POutputs(sure, sure, agreeing), labels, edges)["parsing_consistency"].item() < 1e-6
    blind = torch.tensor([3.0, -3.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8).clone().requires_grad_()
    loss = criterion(CE2POutputs(parsing, parsing, blind), labels, edges)["parsing_consistency"]
    by_parsing, by_edge = torch.autograd.grad(loss, (parsing, blind))
    assert by_parsing.abs().sum() > 1e-3
    here = edges[0] == 1
    assert (by_edge[0, 1][here] < 0).all()  # the edge head is told to see the edge
    assert by_edge[0, 1][~here].abs().max() == 0


def test_consistency_equals_its_formula() -> None:
    predicted, (labels, edges) = outputs(13), targets(14)
    counted = labels != 255
    made = soft_edges(full(predicted.stage1).softmax(1), counted)
    said = full(predicted.edge).softmax(1)[:, 1]
    pixels = counted & ((made > 0.5) | (said > 0.5))
    assert 0 < pixels.sum() < counted.sum()
    distance = (made - said)[pixels].abs()
    assert distance.max() < 1
    terms = Criterion(SCHP, True, 4)(predicted, labels, edges)
    assert terms["stage1_consistency"].item() == pytest.approx(0.1 * (0.5 * distance**2).mean().item(), rel=1e-5)


# Soft labels


@pytest.mark.parametrize("cycle", [1, 3])
def test_soft_targets_mix_the_teachers_probabilities_with_the_label(cycle: int) -> None:
    predicted, teacher, (labels, edges) = outputs(15), outputs(16), targets(17)
    before = labels.clone()
    terms = Criterion(LossConfig(), True, 4)(predicted, labels, edges, teacher, cycle)
    assert torch.equal(labels, before)  # SCHP's own code writes 0 over 255 here

    def divergence(student: Tensor, guide: Tensor, target: Tensor, classes: int) -> float:
        total, count = 0.0, 0
        logarithm, soft = full(student).double().log_softmax(1), full(guide).double().softmax(1)
        for n, y, x in itertools.product(range(2), range(9), range(9)):
            if labels[n, y, x] == 255 or target[n, y, x] == 255:
                continue
            truth = F.one_hot(target[n, y, x], classes).double()
            mixed = cycle / (cycle + 1) * soft[n, :, y, x] + truth / (cycle + 1)
            total += (mixed * (mixed.log() - logarithm[n, :, y, x])).sum().item()
            count += 1
        return total / count

    assert terms["parsing"].item() == pytest.approx(divergence(predicted.parsing, teacher.parsing, labels, 4), rel=1e-5)
    assert terms["stage1"].item() == pytest.approx(divergence(predicted.stage1, teacher.parsing, labels, 4), rel=1e-5)
    assert terms["edge"].item() == pytest.approx(divergence(predicted.edge, teacher.edge, edges, 2), rel=1e-5)


def test_a_teacher_gets_no_gradient() -> None:
    predicted, teacher, (labels, edges) = outputs(18), outputs(19), targets(20)
    Criterion(SCHP, True, 4)(predicted, labels, edges, teacher, 1).total.backward()
    assert predicted.parsing.grad is not None
    assert teacher.parsing.grad is None


# Properties that training rests on


def everything_ignored() -> tuple[Tensor, Tensor]:
    return torch.full((2, 9, 9), 255), torch.full((2, 9, 9), 255)


def one_class_without_edges() -> tuple[Tensor, Tensor]:
    return torch.zeros(2, 9, 9, dtype=torch.long), torch.zeros(2, 9, 9, dtype=torch.long)


def edges_everywhere() -> tuple[Tensor, Tensor]:
    return targets(21)[0], torch.ones(2, 9, 9, dtype=torch.long)


@pytest.mark.parametrize("make", [everything_ignored, one_class_without_edges, edges_everywhere])
@pytest.mark.parametrize("cycle", [0, 1])
def test_empty_sets_give_finite_losses_and_gradients(make: Callable[[], tuple[Tensor, Tensor]], cycle: int) -> None:
    predicted, (labels, edges) = outputs(22), make()
    for balance in ("weights", "pixels"):
        criterion = Criterion(SCHP.model_copy(update={"edge_balance": balance}), True, 4)
        terms = criterion(predicted, labels, edges, outputs(23) if cycle else None, cycle)
        assert all(math.isfinite(term.item()) for term in terms.values())
        gradients = torch.autograd.grad(terms.total, predicted)
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        if make is everything_ignored:
            assert terms.total.item() == 0
            assert all(gradient.abs().max() == 0 for gradient in gradients)


def test_a_batch_without_edges_counts_what_is_there() -> None:
    labels, edges = torch.zeros(1, 8, 8, dtype=torch.long), torch.zeros(1, 8, 8, dtype=torch.long)
    undecided = CE2POutputs(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 8))
    total = Criterion(LossConfig(), True, 3)(undecided, labels, edges).total
    assert total.item() == pytest.approx(2 * math.log(3) + math.log(2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_are_computed_in_float32_even_inside_autocast(dtype: torch.dtype) -> None:
    predicted, (labels, edges) = outputs(24), targets(25)
    halved = CE2POutputs(*(logits.detach().to(dtype) for logits in predicted if logits is not None))
    expected = Criterion(SCHP, True, 4)(CE2POutputs(*(x.float() for x in halved if x is not None)), labels, edges)
    with torch.autocast("cpu", torch.bfloat16):
        terms = Criterion(SCHP, True, 4)(halved, labels, edges)
    assert terms.total.dtype == torch.float32
    assert {name: term.item() for name, term in terms.items()} == {name: t.item() for name, t in expected.items()}


@pytest.mark.parametrize("balance", ["weights", "pixels"])
@pytest.mark.parametrize("cycle", [0, 1])
def test_two_processes_average_to_the_gradients_of_one(balance: str, cycle: int) -> None:
    """Each process has its pictures and the counts of both; DistributedDataParallel averages the gradients."""
    config = LossConfig.model_validate({"consistency": 0.1, "edge_balance": balance})
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    predicted, guide, (labels, edges) = outputs(26, pictures=4), outputs(27, pictures=4), targets(28, pictures=4)
    labels[:2, :6] = 255  # so that the halves have very different counts

    def gradients(share: slice, reduce_sum: Callable[[Tensor], Tensor], world: int) -> list[Tensor]:
        criterion = Criterion(config, True, 4, weights, reduce_sum=reduce_sum, world=world)
        part, teacher = (CE2POutputs(*(x[share] for x in each if x is not None)) for each in (predicted, guide))
        total = criterion(part, labels[share], edges[share], teacher if cycle else None, cycle).total
        return list(torch.autograd.grad(total, predicted))

    counts: dict[int, list[Tensor]] = {0: [], 1: []}
    shares = {0: slice(0, 2), 1: slice(2, 4)}

    def remember(rank: int) -> Callable[[Tensor], Tensor]:
        def reduce_sum(value: Tensor) -> Tensor:
            counts[rank].append(value)
            return value

        return reduce_sum

    def exchange(both: list[Tensor]) -> Callable[[Tensor], Tensor]:
        queue = iter(both)
        return lambda value: next(queue)

    for rank, share in shares.items():
        gradients(share, remember(rank), 2)
    both = [a + b for a, b in zip(counts[0], counts[1], strict=True)]
    parts = [gradients(share, exchange(both), 2) for share in shares.values()]
    whole = gradients(slice(0, 4), lambda value: value, 1)
    for first, second, expected in zip(*parts, whole, strict=True):
        assert torch.allclose((first + second) / 2, expected, rtol=1e-6, atol=1e-8)
        assert expected.abs().max() > 1e-4
