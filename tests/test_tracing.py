"""The memory for traces and counts gives back what torch said, and notices every difference that could show."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from ce2p.flops import count_flops
from tests.tracing import keep_operation_counts, keep_traces


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.factor = 2.0
        self.plain = torch.ones(3)  # neither a parameter nor a buffer

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(image) * self.factor + self.plain


def change_weight(module: Scaled, options: dict[str, Any]) -> None:
    with torch.no_grad():
        module.layer.bias[1] += 1


def change_attribute(module: Scaled, options: dict[str, Any]) -> None:
    module.factor = 3.0


def change_tensor(module: Scaled, options: dict[str, Any]) -> None:
    module.plain[2] = 5


def change_name(module: Scaled, options: dict[str, Any]) -> None:
    options["output_names"] = ["other"]


def change_axis(module: Scaled, options: dict[str, Any]) -> None:
    options["dynamic_shapes"] = ({0: torch.export.Dim("batch", min=1, max=8)},)


@pytest.mark.parametrize("change", [change_weight, change_attribute, change_tensor, change_name, change_axis])
def test_another_network_is_another_trace(
    change: Callable[[Scaled, dict[str, Any]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_traces(tmp_path, monkeypatch)
    module = Scaled().eval()
    options: dict[str, Any] = {"dynamo": True, "opset_version": 20, "input_names": ["x"], "verbose": False}
    image = torch.randn(2, 3)

    def run() -> bytes:
        content = ir.to_proto(torch.onnx.export(module, (image,), **options).model).SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (output,) = session.run(None, {"x": image.numpy()})
        torch.testing.assert_close(torch.from_numpy(output), module(image).detach())
        return bytes(content)

    first = run()
    assert run() == first
    assert len(list(tmp_path.iterdir())) == 1
    change(module, options)
    assert run() != first
    assert len(list(tmp_path.iterdir())) == 2


def test_operations_are_counted_for_each_structure_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[nn.Module] = []
    deploy = importlib.import_module("ce2p_export.deploy")
    monkeypatch.setattr(deploy, "count_flops", lambda net, *size: asked.append(net) or count_flops(net, *size))
    keep_operation_counts(monkeypatch)
    counts = {}
    for channels, size in ((4, (9, 9)), (5, (9, 9)), (4, (9, 9)), (4, (9, 8))):
        counts[channels, size] = deploy.count_flops(nn.Conv2d(3, channels, 1), *size)
    assert counts == {(c, size): 2 * 3 * c * size[0] * size[1] for c, size in counts}
    assert len(asked) == 3  # the third network has other weights and nothing else
