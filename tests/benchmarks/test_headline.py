"""The headline run, end to end on a tiny network: who is compared, what is refused, what the report holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks import headline, peers
from benchmarks.baseline_pipeline import BaselinePipeline, write_baseline_png
from benchmarks.headline import HeadlineRequest, measure_headline
from benchmarks.headline_report import markdown, write_report
from benchmarks.peer_frames import FrameRun, check_usual
from benchmarks.rival_files import calibration_pictures
from benchmarks.rivals import EAGER, NAIVE, Peer, Peers, Rival, check_exact, our_peers
from benchmarks.scenes import photo
from benchmarks.workload import Workload
from ce2p.checkpoints import save_checkpoint
from ce2p.errors import ConfigError, DataError
from ce2p.labels import label_set
from ce2p.models import CE2P
from ce2p.synthetic import write_dataset
from ce2p_export.torch_backend import TorchBackend
from ce2p_runtime import HumanParser
from ce2p_runtime.errors import ModelFileError

Tiny = Callable[..., CE2P]
SIZE = (97, 97)
FRAME = (135, 240)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people")
    write_dataset(root, "lip", train=3, val=2, size=(96, 80), seed=0)
    return root


@pytest.fixture(scope="module")
def checkpoint(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    return save_checkpoint(
        path, tiny("schp"), "lip", "untrained (random, seed 0)", {"input_size": list(SIZE)}, untrained=True
    )


@pytest.fixture(scope="module")
def document(
    checkpoint: Path, people: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """One round of everything but torch.compile and the ceilings."""
    request = HeadlineRequest(
        checkpoint,
        people,
        files=(tiny_model,),
        rounds=1,
        warmup=0,
        threads=1,
        frame=FRAME,
        compile_seconds=0,
        ceilings=False,
        work=tmp_path_factory.mktemp("work"),
    )
    found: dict[str, Any] = json.loads(json.dumps(measure_headline(request)))
    return found


def test_every_peer_is_there_with_its_labels_judged(document: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in document["peers"]}
    assert document["missing"] == {}
    assert [name.split(",")[0] for name in rows] == [
        EAGER,
        "ONNX Runtime",
        "ONNX Runtime",
        "ONNX Runtime",
        "OpenVINO",
        "OpenVINO",
        "OpenVINO",
        "ours fp32",
        "ours fp32",
    ]
    assert rows[EAGER]["standing"] == "reference"
    for row in rows.values():
        assert len(row["samples_ms"]) == 1
        assert row["gate"]["truth_miou"] is not None, "the pictures have annotations"
        if row["precision"] == "fp32":
            assert row["relative_l2"] < 1e-4
            assert row["gate"]["pixel_agreement"] > 0.999
    assert all(row["standing"] == "passed" for row in rows.values() if row["ours"])
    assert rows[NAIVE]["over_naive"]["value"] == 1
    int8 = [row for row in rows.values() if row["precision"] == "int8"]
    assert len(int8) == 3
    assert all(set(row["gflops"]) == {"int8"} for row in int8), "all convolutions of these files are quantised"


def test_frames_of_the_usual_pipeline_and_ours_give_the_same_labels(document: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in document["frames"]}
    assert list(rows)[:2] == ["usual pipeline, PyTorch", "usual pipeline, ONNX Runtime naive"]
    assert len(rows) == 4
    for row in rows.values():
        assert row["agreement_with_pytorch"] >= 0.999
        times = row["p50_ms"]
        assert times["whole"] == pytest.approx(times["frame"] + times["png"], rel=1e-6)
        assert times["prepare"] + times["network"] + times["labels"] <= times["frame"] * 1.001
        assert 0 < row["prepare_and_labels_share"] < 1
    ratio = rows["usual pipeline, PyTorch"]["over"]["usual pipeline, PyTorch"]["frame"]["value"]
    assert ratio == 1


def test_the_ratios_are_those_of_the_fastest_that_passes(document: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in document["peers"]}
    best = min((row for row in rows.values() if row["ours"]), key=lambda row: row["p50_ms"])
    found = document["ratios"][f"network: {best['name']} / {NAIVE}"]["value"]
    assert found == pytest.approx(best["samples_ms"][0] / rows[NAIVE]["samples_ms"][0])
    assert f"frame: {best['name']} / usual pipeline, PyTorch" in document["ratios"]


def test_the_report_holds_every_row_and_no_path(document: dict[str, Any], people: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = write_report(document, tmp_path / "out")
    assert [path.name for path in written] == ["headline.json", "headline.md", "headline.png", "headline.svg"]
    text = written[1].read_text()
    for row in (*document["peers"], *document["frames"]):
        assert row["name"] in text
    assert str(people.parent) not in text + written[0].read_text()
    assert "fails" in written[3].read_text() or all(row["standing"] != "failed" for row in document["peers"])


def test_a_result_is_rendered_again(document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "headline.json").write_text(json.dumps(document))
    monkeypatch.setattr("sys.argv", ["headline", "--render", str(tmp_path / "headline.json")])
    headline.main()
    assert (tmp_path / "headline.md").read_text().strip().startswith("# ")


def test_a_factorised_file_is_told_from_one_that_is_not(tiny_model: Path, tmp_path: Path) -> None:
    """They are of one precision, and each gets its own ratios."""
    model = onnx.load(str(tiny_model))
    (stored,) = model.metadata_props
    facts = json.loads(stored.value)
    facts["extra"]["low_rank"] = {"channels": 256, "rank": 64}
    stored.value = json.dumps(facts)
    onnx.save(model, str(tmp_path / "other.onnx"))
    opened = [make() for _, make in our_peers((tiny_model, tmp_path / "other.onnx"), 1, ["onnxruntime"])]
    for one in opened:
        one.parser.close()
    assert [one.name for one in opened] == ["ours fp32, ONNX Runtime", "ours fp32, low rank, ONNX Runtime"]
    assert [one.kind for one in opened] == ["ours fp32", "ours fp32, low rank"]


def test_what_fails_the_gate_is_marked(document: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(document))
    changed["peers"][-1] |= {"standing": "failed"}
    changed["peers"][-1]["gate"] |= {"failures": ["pixel agreement is 12 %, expected at least 99 %"]}
    text = markdown(changed)
    assert "FAILED" in text
    assert f"- {changed['peers'][-1]['name']}: pixel agreement is 12 %" in text


def peer(name: str, parser: HumanParser, change: Callable[[np.ndarray], np.ndarray], precision: str = "fp32") -> Peer:
    """`parser`'s network with changed logits, under another name."""
    run = parser.backend.run
    rival = Rival(name, replace(parser.metadata, precision=precision), lambda batch: [change(run(batch)[0])])
    return Peer(name, False, "fp32", HumanParser.on(rival, name=name), Workload(0, 1, 0, 1))


def torch_parser(tiny: Tiny) -> HumanParser:
    return HumanParser.on(TorchBackend(tiny("schp"), label_set("lip"), SIZE), name="torch")


def test_a_float_peer_that_computes_something_else_is_not_timed(tiny: Tiny) -> None:
    parser = torch_parser(tiny)
    found = Peers(
        [
            peer(EAGER, parser, lambda logits: logits),
            peer("scaled", parser, lambda logits: logits * 1.001),
            peer("swapped", parser, lambda logits: logits[:, ::-1]),
            peer("coarse int8", parser, lambda logits: np.round(logits * 4) / 4, "int8"),
            peer("not finite", parser, lambda logits: logits * np.nan, "int8"),
        ]
    )
    check_exact(found, photo(FRAME))
    assert [p.name for p in found.ready] == [EAGER, "coarse int8"]
    assert set(found.missing) == {"scaled", "swapped", "not finite"}
    assert "relative L2" in found.missing["scaled"]


def test_a_peer_that_cannot_be_made_becomes_a_reason() -> None:
    def make() -> Peer:
        raise OSError("libsomething.so: cannot open\nmore")

    found = Peers()
    found.add("rival", make)
    assert found.missing == {"rival": "libsomething.so: cannot open"}


def test_the_usual_pipeline_labels_as_the_parser(tiny: Tiny) -> None:
    parser = torch_parser(tiny)
    frame = photo(FRAME)
    usual = BaselinePipeline(lambda image: parser.backend.run(image)[0], parser.metadata)
    labels, stages = usual.timed(frame)
    assert labels.shape == FRAME
    assert np.mean(labels == parser(frame).labels) >= 0.999
    assert set(stages) == {"prepare", "network", "labels"}


def test_a_usual_pipeline_that_labels_otherwise_is_refused(tiny: Tiny) -> None:
    parser = torch_parser(tiny)
    found = Peers([peer(EAGER, parser, lambda logits: logits)])
    mirrored = BaselinePipeline(lambda image: parser.backend.run(image)[0][..., ::-1].copy(), parser.metadata)
    run = FrameRun("usual pipeline, PyTorch", EAGER, mirrored.timed, lambda path, labels: None)
    with pytest.raises(ArithmeticError, match="computes something else"):
        check_usual([run], found, [photo(FRAME)])


def test_the_usual_pipeline_is_for_its_geometry_alone(tiny: Tiny) -> None:
    metadata = TorchBackend(tiny("ssseg"), label_set("lip"), SIZE).metadata
    with pytest.raises(ValueError, match="SCHP's extractor"):
        BaselinePipeline(lambda image: image, metadata)


def test_both_pngs_hold_the_same_labels(tmp_path: Path) -> None:
    from PIL import Image

    from ce2p_runtime.media.png import write_png

    labels = np.random.default_rng(0).integers(0, 20, (12, 9), np.uint8)
    palette = [(i, 2 * i, 3 * i) for i in range(20)]
    write_baseline_png(tmp_path / "a.png", labels, palette)
    write_png(tmp_path / "b.png", labels, palette)
    for name in ("a.png", "b.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.mode == "P"
            assert np.array_equal(np.asarray(picture), labels)
            assert picture.getpalette()[3:6] == [1, 2, 3]


def test_calibration_takes_the_training_pictures(people: Path, tmp_path: Path) -> None:
    found = calibration_pictures(people, tmp_path, count=2)
    assert len(found.files) == 2
    assert {file.read_bytes() for file in found.files} < {f.read_bytes() for f in (people / "train_images").iterdir()}
    assert calibration_pictures(people, tmp_path, count=2) == found
    assert calibration_pictures(people, tmp_path, count=3).key != found.key


def test_nothing_to_calibrate_on_is_one_line(tmp_path: Path) -> None:
    from ce2p_runtime.errors import MediaError

    (tmp_path / "empty").mkdir()
    with pytest.raises((DataError, MediaError), match="empty"):
        calibration_pictures(tmp_path / "empty", tmp_path)


def test_files_of_another_size_are_refused(checkpoint: Path, people: Path, tiny_model: Path) -> None:
    request = HeadlineRequest(checkpoint, people, files=(tiny_model,), size=(65, 65))
    with pytest.raises(ConfigError, match="its input is 97x97, that of the others 65x65"):
        measure_headline(request)


def test_a_file_that_is_not_there_is_one_line(checkpoint: Path, people: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        measure_headline(HeadlineRequest(checkpoint, people, files=(tmp_path / "none.onnx",)))


def test_compiling_has_a_time_limit() -> None:
    import time

    with pytest.raises(TimeoutError, match="too slow"), peers._time_limit(1, "too slow"):
        time.sleep(20)


def test_torch_compile_gives_the_same_logits(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the compiler: what is tested is the way around it."""
    monkeypatch.setattr("torch.compile", lambda module: module)
    image = np.random.default_rng(0).standard_normal((1, 3, *SIZE), np.float32)
    compiled = peers.in_torch_compiled(tiny("schp"), SIZE, 60)
    assert np.array_equal(compiled(image)[0], peers.in_torch(tiny("schp"))(image)[0])
