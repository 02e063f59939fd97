"""The teacher's mean and its BatchNorm statistics, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ce2p.models import CE2P, CE2PConfig, untrained
from ce2p.training.self_correction import Teacher

NARROW: dict[str, Any] = {"base_width": 8, "pyramid_width": 8, "edge_width": 8, "decoder_width": 8, "shortcut_width": 8}


def network(seed: int) -> CE2P:
    """A network with eight channels almost everywhere."""
    fields = CE2PConfig.of("schp", "r18", 16, 3).to_dict() | NARROW
    return untrained(CE2PConfig.from_dict(fields), seed)


def batches(*sizes: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(size, 3, 65, 65, generator=generator) * (i + 1) for i, size in enumerate(sizes)]


def norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


def test_the_teacher_is_the_mean_of_what_it_took_in() -> None:
    students = [network(seed) for seed in (1, 2, 3)]
    teacher = Teacher(network(9))
    assert teacher.cycle == 0
    teacher.update(students[0])
    for mine, first in zip(teacher.net.parameters(), students[0].parameters(), strict=True):
        assert torch.equal(mine, first)
    for student in students[1:]:
        teacher.update(student)
    assert teacher.cycle == 3
    for mine, *all_three in zip(teacher.net.parameters(), *(s.parameters() for s in students), strict=True):
        assert torch.allclose(mine, torch.stack(all_three).mean(0), atol=1e-6)
        assert not mine.requires_grad


def test_the_first_network_is_copied_even_over_what_is_no_number() -> None:
    teacher, student = Teacher(network(1)), network(2)
    with torch.no_grad():
        teacher.net.fusion.classifier.weight.fill_(float("nan"))  # type: ignore[union-attr]
    teacher.update(student)
    assert torch.equal(teacher.net.fusion.classifier.weight, student.fusion.classifier.weight)  # type: ignore[union-attr]


def test_a_teacher_does_not_follow_its_student_between_cycles() -> None:
    student = network(1)
    teacher = Teacher(student)
    teacher.update(student)
    before = teacher.net.fusion.classifier.weight.clone()  # type: ignore[union-attr]
    with torch.no_grad():
        student.fusion.classifier.weight.add_(1)  # type: ignore[union-attr]
    assert torch.equal(teacher.net.fusion.classifier.weight, before)  # type: ignore[union-attr]


def test_statistics_are_means_over_batches_weighted_by_their_pictures() -> None:
    teacher, given = Teacher(network(1)), batches(2, 4, 3)
    teacher.estimate_statistics(iter(given))
    first = teacher.net.backbone.stem[0]
    expected_mean, expected_var = torch.zeros(8), torch.zeros(8)
    with torch.no_grad():
        for images in given:
            features = first.conv(images)
            expected_mean += len(images) / 9 * features.mean((0, 2, 3))
            expected_var += len(images) / 9 * features.transpose(0, 1).flatten(1).var(1)
    assert torch.allclose(first.norm.running_mean, expected_mean, atol=1e-6)
    assert torch.allclose(first.norm.running_var, expected_var, rtol=1e-5)


def test_equal_batches_give_the_cumulative_average_of_every_layer() -> None:
    teacher, reference, given = Teacher(network(1)), network(1), batches(2, 2, 2)
    teacher.estimate_statistics(given)
    for norm in norms(reference):
        norm.reset_running_stats()
        norm.momentum = None  # torch's own cumulative average
        norm.train()
    with torch.no_grad():
        for images in given:
            reference(images)
    assert len(norms(reference)) == 36
    for mine, theirs in zip(norms(teacher.net), norms(reference), strict=True):
        assert torch.allclose(mine.running_mean, theirs.running_mean, rtol=1e-5, atol=1e-6)
        assert torch.allclose(mine.running_var, theirs.running_var, rtol=1e-5)


def test_afterwards_the_teacher_is_in_eval_mode_and_answers_repeatably() -> None:
    teacher, (images,) = Teacher(network(1)), batches(2)
    teacher.estimate_statistics([images])
    assert not any(module.training for module in teacher.net.modules())
    assert {norm.momentum for norm in norms(teacher.net)} == {0.1}
    first, second = teacher.outputs(images), teacher.outputs(images)
    assert torch.equal(first.parsing, second.parsing)
    assert not first.parsing.requires_grad


def test_statistics_of_two_processes_are_those_of_all_their_pictures() -> None:
    given = batches(2, 2, 3)
    alone = Teacher(network(1))
    alone.estimate_statistics(given)
    parts, sums = [Teacher(network(1)), Teacher(network(1))], []
    shares = [given[:1], given[1:]]

    def remember(value: Tensor) -> Tensor:
        sums.append(value)
        return value

    for part, share in zip(parts, shares, strict=True):
        part.estimate_statistics(share, remember)
    both = sums[0] + sums[1]
    exchange: Callable[[Tensor], Tensor] = lambda value: both  # noqa: E731
    for part, share in zip(parts, shares, strict=True):
        part.estimate_statistics(share, exchange)
        for mine, expected in zip(norms(part.net), norms(alone.net), strict=True):
            assert torch.allclose(mine.running_mean, expected.running_mean, rtol=1e-5, atol=1e-6)
            assert torch.allclose(mine.running_var, expected.running_var, rtol=1e-5)


def test_no_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        Teacher(network(1)).estimate_statistics([])


def test_a_snapshot_brings_the_teacher_back() -> None:
    students, (images,) = [network(seed) for seed in (1, 2, 3)], batches(2)
    straight = Teacher(students[0])
    for student in students[:2]:
        straight.update(student)
    straight.estimate_statistics([images])
    resumed = Teacher(network(9))
    resumed.load_state_dict(
        {"cycle": straight.cycle, "net": {k: v.clone() for k, v in straight.net.state_dict().items()}}
    )
    assert resumed.cycle == 2
    assert torch.equal(resumed.outputs(images).parsing, straight.outputs(images).parsing)
    for teacher in (straight, resumed):
        teacher.update(students[2])
    assert straight.state_dict()["cycle"] == resumed.state_dict()["cycle"] == 3
    for mine, theirs in zip(resumed.state_dict()["net"].values(), straight.state_dict()["net"].values(), strict=True):
        assert torch.equal(mine, theirs)
