"""int8 exports: judged where they run, refused where not good enough, repaired where a few layers are to blame.

The tests share the run's cache: what one tried of the fragile network, the other need not try again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from ce2p.synthetic import iter_samples
from ce2p_export import GateSettings, GraphOptions, Quantisation, SourceModel, export_onnx, open_model
from ce2p_export.torch_backend import TorchBackend
from ce2p_runtime import HumanParser
from ce2p_runtime.backends import onnxruntime as ort_backend
from ce2p_runtime.backends import open_backend
from ce2p_runtime.frame_steps import network_input
from ce2p_runtime.judge import GateError, GatePicture, Reference, judge_labels
from ce2p_runtime.precisions import PRECISIONS, LabelLimits
from tests.export.reading import read_onnx

SIZE = (97, 97)
PICTURES = [GatePicture(f"person {i}", image) for i, (image, _) in enumerate(iter_samples(5, 3, (120, 100)))]
LOOSE = LabelLimits(0.90, 0.85, 0.75, 0.30, 1.0, worst_class=0.0)
"""What 8 bits leave of an untrained network's labels, whose classes lie closer together than trained ones."""


def settings(limits: LabelLimits, *backends: str, judged: bool = True) -> GateSettings:
    return GateSettings(PICTURES, "three synthetic people", limits, backends, judged)


def quantisation(target: str = "cpu") -> Quantisation:
    source = open_model("lip-r18-os16", family="schp", random=True)
    with HumanParser.on(torch_backend(source), name="x") as parser:
        inputs = [network_input(parser.metadata, [picture.image]) for picture in PICTURES]
    return Quantisation(inputs, "three synthetic people", "minmax", target)  # type: ignore[arg-type]


def torch_backend(source: SourceModel) -> TorchBackend:
    return TorchBackend(source.net, source.labels, SIZE)


def fragile() -> SourceModel:
    """One channel in the middle of a block is 500 times as large as the others and weighs as much less afterwards.

    The network computes what it did; per-tensor steps of 8 bits now swallow all other channels of that block.
    """
    source = open_model("lip-r18-os16", family="schp", random=True)
    block = source.net.backbone.layer2[1]
    convs = [module for module in block.modules() if isinstance(module, torch.nn.Conv2d)]
    norms = [module for module in block.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        norms[0].weight[3] *= 500
        norms[0].bias[3] *= 500
        convs[1].weight[:, 3] /= 500
        norms[-1].weight *= 4  # so that the block counts
    return source


def test_an_int8_file_passes_where_it_was_judged_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What converting a spared group costs depends on the processor; that nothing costs this little does not.
    monkeypatch.setattr("ce2p_export.proposals.MAX_COST", -10.0)
    source = open_model("lip-r18-os16", family="schp", random=True)
    options = GraphOptions(SIZE, precision="int8")
    exported = export_onnx(
        source, options, tmp_path / "m.onnx", gate=settings(LOOSE, "onnxruntime"), quantisation=quantisation()
    )
    assert exported.proof is None
    assert exported.sensitivity is None
    assert exported.gate is not None
    assert exported.gate.passed_on == ("onnxruntime",)
    record = exported.metadata.extra["gate"]
    assert record["passed_on"] == ["onnxruntime"]
    assert record["figures"]["onnxruntime"]["pixel_agreement"] > LOOSE.pixel_agreement
    assert "pyramid.context" in exported.metadata.extra["kept"]
    assert exported.metadata.extra["quantisation"] == {
        "target": "cpu",
        "method": "minmax",
        "calibrated_on": "three synthetic people",
    }
    stored = {t.data_type for t in onnx.load(str(exported.path)).graph.initializer}
    assert onnx.TensorProto.INT8 in stored
    with HumanParser(exported.path, backend="auto", device="cpu") as parser:  # the record leaves one backend
        assert parser.backend.name == "onnxruntime"


def test_a_factorised_file_says_so_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are moved: an untrained network's features fill their space, and its labels are easily lost."""
    monkeypatch.setattr("ce2p_export.precision.low_rank.ERROR", 0.3)
    monkeypatch.setattr("ce2p_export.proposals.MAX_COST", 10.0)
    source = open_model("lip-r18-os16", family="schp", random=True)
    options = GraphOptions(SIZE, precision="int8")
    plain, factorised = (
        export_onnx(
            source,
            options,
            tmp_path / f"{low_rank}.onnx",
            gate=settings(LOOSE, "onnxruntime"),
            quantisation=replace(quantisation(), low_rank=low_rank),
        )
        for low_rank in (False, True)
    )
    assert "low_rank" not in plain.metadata.extra
    record = factorised.metadata.extra["low_rank"]
    assert record["channels"] == 256  # of the tiny backbone
    assert record["rank"] < record["channels"]
    assert read_onnx(factorised.path).flops < read_onnx(plain.path).flops
    assert factorised.gate is not None
    assert factorised.gate.passed_on == ("onnxruntime",)
    with HumanParser(factorised.path, backend="onnxruntime", device="cpu") as parser:
        assert parser(PICTURES[0].image).labels.shape == PICTURES[0].image.shape[:2]


def test_the_layer_to_blame_is_found_and_kept(tmp_path: Path) -> None:
    """Limits between what the fragile network reaches with everything converted and with its one bad block kept."""
    source = fragile()
    options = GraphOptions(SIZE, precision="int8")
    told: list[str] = []
    exported = export_onnx(
        source,
        options,
        tmp_path / "m.onnx",
        gate=settings(LOOSE, "onnxruntime"),
        quantisation=quantisation(),
        progress=lambda step, done, total: told.append(step),
    )
    assert exported.sensitivity is not None
    assert not exported.sensitivity.base.passed
    assert exported.sensitivity.groups[0].group == "backbone.layer2.1"
    assert "backbone.layer2.1" in exported.kept
    assert len(exported.sensitivity.keep) <= 3
    assert exported.sensitivity.final.passed
    assert "one group kept" in told


def test_without_search_the_failure_names_the_layers_and_leaves_no_file(tmp_path: Path) -> None:
    source = fragile()
    folder = tmp_path / "out"
    with pytest.raises(
        GateError, match=r"m\.onnx: not written.*cost most: backbone\.layer2\.1 .*leave --no-search out"
    ):
        export_onnx(
            source,
            GraphOptions(SIZE, precision="int8"),
            folder / "m.onnx",
            gate=settings(LOOSE, "onnxruntime"),
            quantisation=quantisation(),
            may_search=False,
        )
    assert list(folder.iterdir()) == []


def test_an_untrained_network_is_measured_and_not_judged(tmp_path: Path) -> None:
    source = open_model("lip-r18-os16", family="schp", random=True)
    exported = export_onnx(
        source,
        GraphOptions(SIZE, precision="int8"),
        tmp_path / "m.onnx",
        gate=settings(PRECISIONS["int8"].labels, "onnxruntime", judged=False),
        quantisation=quantisation(),
    )
    assert exported.gate is not None
    assert not exported.gate.passed  # two classes of an untrained network lie closer than 8 bits tell apart
    assert "gate" not in exported.metadata.extra
    assert exported.metadata.extra["gate_not_judged"]["figures"]["onnxruntime"]["passed"] is False


def test_the_gate_stops_a_backend_that_computes_wrongly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime with the optimiser switched on again that loses biases: a real fault, on a real file."""
    source = open_model("lip-r18-os16", family="schp", random=True)
    noise = torch.Generator().manual_seed(0)
    with (
        torch.no_grad()
    ):  # small results in the middle of every block, as trained networks have: scales' products vanish
        for block in (b for n in (2, 3, 4) for b in getattr(source.net.backbone, f"layer{n}")):
            convs = [module for module in block.modules() if isinstance(module, torch.nn.Conv2d)]
            norms = [module for module in block.modules() if isinstance(module, torch.nn.BatchNorm2d)]
            norms[0].bias += torch.randn(norms[0].bias.shape, generator=noise)
            norms[0].weight *= 0.02
            norms[0].bias *= 0.02
            convs[1].weight *= 50
            norms[1].weight *= 3
    file = export_onnx(
        source, GraphOptions(SIZE, precision="int8"), tmp_path / "m.onnx", quantisation=quantisation("tensorrt")
    ).path
    with HumanParser.on(open_backend(file, "onnxruntime", "cpu"), name="right") as parser:
        reference = Reference.of(parser, PICTURES)
    with HumanParser.on(open_backend(file, "openvino", "cpu"), name="also right") as parser:
        agreed = judge_labels(reference, parser, PRECISIONS["int8"].labels)
    monkeypatch.setattr(ort_backend, "_DISABLED_OPTIMIZERS", {})
    with HumanParser.on(open_backend(file, "onnxruntime", "cpu"), name="wrong") as parser:
        report = judge_labels(reference, parser, PRECISIONS["int8"].labels)
    if report.pixel_agreement >= agreed.pixel_agreement:
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} does not have this fault, which 1.32 has")
    assert not report.passed
