"""Exports prove themselves: every option gives a file that computes what the trained network computes, or no file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from ce2p.checkpoints import save_checkpoint
from ce2p.errors import CE2PError, ConfigError
from ce2p.models import CE2P
from ce2p_export import GraphOptions, ProofError, default_path, export_onnx, export_plain, open_model
from ce2p_export import judging as judging_module
from ce2p_export import plan as plan_module
from ce2p_runtime.backends import open_backend
from ce2p_runtime.base.files import file_sha256
from ce2p_runtime.judge import Proof, ProofRow
from ce2p_runtime.model_files.metadata import METADATA_KEY, ModelMetadata
from ce2p_runtime.precisions import PRECISIONS
from tests.export.reading import read_onnx

Tiny = Callable[..., CE2P]
LIMITS = PRECISIONS["fp32"].logits
assert LIMITS is not None
SIZE = (97, 81)


def metadata_of(path: Path) -> ModelMetadata:
    properties = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    return ModelMetadata.from_json(properties[METADATA_KEY], str(path))


CASES: list[dict[str, Any]] = [
    {"family": "schp"},
    {"family": "schp", "batch": None, "edge": True},
    {"family": "schp", "batch": 3, "input_kind": "uint8", "output_kind": "labels"},
    {"family": "ssseg", "input_kind": "uint8"},
    {"family": "ssseg", "batch": None, "output_kind": "labels"},
    {"family": "ssseg-2020", "input_kind": "uint8", "output_kind": "labels", "edge": True},
    {"family": "ce2p", "batch": 2},
    {"family": "mce2p", "input_kind": "uint8", "batch": None},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(f"{value}" for value in case.values()))
def test_every_kind_of_export_passes_its_proof_and_runs_on_every_backend(case: dict[str, Any], tmp_path: Path) -> None:
    options = GraphOptions(SIZE, **{key: value for key, value in {"batch": 1, **case}.items() if key != "family"})
    source = open_model("lip-r18-os16", family=case["family"], random=True)
    exported = export_onnx(source, options, tmp_path / "model.onnx")
    assert exported.proof.failure is None
    assert exported.proof.worst.pixel_agreement > 0.9999
    rng = np.random.default_rng(0)
    shape = (2 if options.batch is None else options.batch, *options.input_shape[1:])
    batch = (
        rng.integers(0, 256, shape, np.uint8)
        if options.input_kind == "uint8"
        else rng.standard_normal(shape, np.float32)
    )
    outputs = {}
    for name in ("onnxruntime", "openvino"):
        backend = open_backend(exported.path, name, "cpu")
        assert backend.batch == options.batch
        outputs[name] = backend.run(batch)
        assert len(outputs[name]) == 1 + options.edge
        assert outputs[name][0].shape[0] == shape[0]
        backend.close()
    found, expected = outputs["openvino"][0], outputs["onnxruntime"][0]
    if options.output_kind == "labels":
        assert found.dtype == expected.dtype == np.uint8
        assert found.shape[1:] == SIZE
        assert (found == expected).mean() > 0.999
    else:
        # Both float32, so the proof's limit holds between them too; OpenVINO's bfloat16 default would give 1e-2.
        assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < LIMITS.relative_l2


def test_the_file_states_where_it_comes_from(tiny: Tiny, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "mine.safetensors", tiny("ssseg"), "cihp", "trained for this test")
    source = open_model(str(checkpoint))
    options = GraphOptions(SIZE)
    path = default_path(source, options)
    assert path == tmp_path / "mine_fp32_97x81.onnx"
    metadata = export_onnx(source, options, path).metadata
    assert metadata == metadata_of(path)
    assert (metadata.family, metadata.dataset, metadata.num_classes) == ("ssseg", "cihp", 20)
    assert metadata.class_names[10] == "Torso-skin"
    assert metadata.normalisation.colour_order == "rgb"
    assert metadata.geometry.kind == "resize"
    assert metadata.align_corners is False
    assert metadata.input_size == SIZE
    assert metadata.weights == "trained for this test"
    assert metadata.extra["parent_sha256"] == file_sha256(checkpoint)
    assert [fold["name"] for fold in metadata.extra["folds"]][2] == "pyramid pooling"
    assert (
        metadata.extra["tools"]["torch"] == torch.__version__.partition("+")[0]
        or metadata.extra["tools"]["torch"] == torch.__version__
    )
    rows = metadata.extra["parity"]["rows"]
    assert {row["picture"] for row in rows} == {"astronaut", "coffee", "rocket", "noise", "soft noise"}
    assert all(row["relative_l2"] < LIMITS.relative_l2 for row in rows)


def test_random_weights_are_named_so_in_the_file(tiny_model: Path) -> None:
    assert metadata_of(tiny_model).weights == "untrained (random, seed 0)"


def test_a_network_that_folds_wrongly_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = plan_module.deploy

    def broken(*args: Any, **options: Any) -> Any:
        deployed = real(*args, **options)
        with torch.no_grad():  # as if InPlaceABN's epsilon had been forgotten in one layer
            deployed.net.decoder.fine.weight.mul_(1.002)
        return deployed

    monkeypatch.setattr(plan_module, "deploy", broken)
    source = open_model("lip-r18-os16", family="schp", random=True)
    with pytest.raises(ProofError, match="relative L2"):
        export_onnx(source, GraphOptions(SIZE), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_file_that_was_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"yesterday's")
    wrong = Proof((ProofRow("x", float("nan"), 0.0, 1.0),), "test", LIMITS)
    monkeypatch.setattr(judging_module, "judge_logits", lambda *_, **__: wrong)
    with pytest.raises(ProofError):
        export_onnx(open_model("lip-r18-os16", random=True), GraphOptions(SIZE), path)
    assert path.read_bytes() == b"yesterday's"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("row", "fails"),
    [
        (ProofRow("p", 1e-5, 1e-3, 1.0), False),
        (ProofRow("p", 2e-4, 1e-3, 1.0), True),
        (ProofRow("p", float("nan"), 1e-3, 1.0), True),
        (ProofRow("p", 1e-5, 1e-3, 0.998), True),
        (ProofRow("p", None, None, 0.9995), False),
    ],
)
def test_the_verdict_of_a_proof(row: ProofRow, fails: bool) -> None:
    assert (Proof((ProofRow("good", 1e-7, 1e-6, 1.0), row), "test", LIMITS).failure is not None) == fails


def test_unfolded_exports_prove_themselves_too(tmp_path: Path) -> None:
    source = open_model("lip-r18-os16", family="schp", random=True)
    exported = export_onnx(source, GraphOptions((96, 96)), tmp_path / "plain.onnx", fold=False)
    assert exported.folds == ()
    assert read_onnx(exported.path).flops > 0


def test_folding_shows_in_the_files_own_operation_count(tmp_path: Path) -> None:
    source = open_model("lip-r18-os16", family="schp", random=True)
    folded = export_onnx(source, GraphOptions((96, 96)), tmp_path / "folded.onnx")
    facts, plain = read_onnx(folded.path), read_onnx(export_plain(source.net, tmp_path / "plain.onnx", (96, 96)))
    assert facts.flops == folded.folds[-1].flops_after
    assert plain.flops == folded.folds[0].flops_before
    assert facts.operators["CE2PEdgeFusion"] == 1


def test_names_without_weights_tiny_inputs_and_wrong_families_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--random"):
        open_model("lip-r101-os16")
    with pytest.raises(ConfigError, match="neither a file nor a model name"):
        open_model("lip-r152-os16", random=True)
    with pytest.raises(ConfigError, match="too small"):
        export_onnx(open_model("lip-r18-os16", random=True), GraphOptions((16, 97)), tmp_path / "m.onnx")
    checkpoint = save_checkpoint(tmp_path / "mine.safetensors", tiny("ssseg"), "lip", "test")
    with pytest.raises(ConfigError, match="holds a ssseg network"):
        open_model(str(checkpoint), family="schp")


def test_metadata_survives_its_own_json(tiny_model: Path) -> None:
    metadata = metadata_of(tiny_model)
    again = ModelMetadata.from_json(metadata.to_json(), "memory")
    assert again == metadata
    document = json.loads(metadata.to_json())
    document["from_the_future"] = 1
    assert ModelMetadata.from_json(json.dumps(document), "memory").extra["from_the_future"] == 1


def test_what_could_not_be_read_again_is_not_exported(tmp_path: Path) -> None:
    source = dataclasses.replace(open_model("lip-r18-os16", random=True), weights="trained\x1b[2J")
    with pytest.raises(
        CE2PError, match=r"^not exported, since the file could not be used: weights is 'trained\\x1b\[2J'"
    ):
        export_onnx(source, GraphOptions(SIZE), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_files_do_not_tell_the_folders_of_the_machine_that_made_them(tmp_path: Path) -> None:
    """torch's exporter writes beside each node where in which file it comes from."""
    made = export_onnx(open_model("lip-r18-os16", random=True), GraphOptions((33, 33)), tmp_path / "model.onnx").path
    content = made.read_bytes()
    for folder in (Path(torch.__file__).parent, Path(plan_module.__file__).parent, tmp_path, Path.home()):
        assert str(folder).encode() not in content
