"""docs/MODELS.md is what its generator writes, and its figures are those of the networks themselves."""

from __future__ import annotations

from benchmarks import model_table
from ce2p.datasets import published
from ce2p.models import CE2P, CE2PConfig
from ce2p_export import deploy


def test_the_document_is_up_to_date() -> None:
    document = model_table.document()
    assert model_table.TARGET.read_text("utf-8") == document, "run python -m benchmarks.model_table --write"
    rows = [line for line in document.splitlines() if line.startswith("| `")]
    assert len(rows) == 4 * len(model_table.TRAINED)
    for row in rows:
        name, published_miou = row.split("`")[1], row.split("|")[6].strip()
        dataset, backbone, stride = name.split("-")
        figures = published("ssseg", dataset, backbone, int(stride.removeprefix("os")))
        assert published_miou == (f"{figures[0].value:.2f}" if figures else "none (ours)")
        for command in (f"ce2p train {name} ", f"ce2p val runs/{name}/best", f"ce2p export runs/{name}/best"):
            assert document.count(command) == 1


def test_costs_told_from_the_class_count_are_those_counted() -> None:
    """Of a network with real values, at its own class count."""
    net = CE2P(CE2PConfig.of("ssseg", "r50", 16, 7))
    deployed = deploy(net, (473, 473))
    found = model_table.cost("ppp", "r50", 16)
    assert found.flops == deployed.flops_before
    assert found.folded == deployed.flops_after
    assert found.parameters == sum(parameter.numel() for parameter in net.parameters())
