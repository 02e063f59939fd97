"""The headline run, end to end on a tiny network: who is compared, what is refused, what the report holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import headline, rival_runtimes
from benchmarks.baseline_pipeline import BaselinePipeline, write_baseline_png
from benchmarks.ceiling_sources import Chain, sources
from benchmarks.headline import HeadlineRequest, measure_headline
from benchmarks.headline_frames import FrameRun, check_baselines
from benchmarks.headline_report import headline_markdown, write_report
from benchmarks.rival_files import calibration_pictures
from benchmarks.rivals import EAGER, NAIVE, Contender, Contenders, Rival, check_exact, our_contenders
from benchmarks.scenes import photo
from ce2p.benchmarking.comparison import compare
from ce2p.benchmarking.document import Result, Row, read_result
from ce2p.checkpoints import save_checkpoint
from ce2p.errors import ConfigError, DataError
from ce2p.labels import label_set
from ce2p.models import CE2P
from ce2p.synthetic import write_dataset
from ce2p_export.torch_backend import TorchBackend
from ce2p_runtime import HumanParser
from ce2p_runtime.errors import ModelFileError

Tiny = Callable[..., CE2P]
ROOT = Path(__file__).parents[2]
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
def found(checkpoint: Path, people: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One round of everything but torch.compile, with ceilings of tiny shapes."""
    request = HeadlineRequest(
        checkpoint=checkpoint,
        data=people,
        files=(tiny_model,),
        rounds=1,
        warmup=0,
        threads=1,
        frame=FRAME,
        compile_seconds=0,
        work=tmp_path_factory.mktemp("work"),
    )
    with pytest.MonkeyPatch.context() as patch:
        small = Chain(((16, 16, 3),) * 2, 8)
        patch.setattr(headline, "sources", lambda threads: sources(threads, (32,), (small,), 1 << 20))
        return measure_headline(request)


def rows_of(result: Result, scope: str) -> dict[str, Row]:
    return {row.name: row for row in result.rows if row.scope == scope}


def test_everybody_is_there_with_their_labels_judged(found: Result) -> None:
    rows = rows_of(found, "network")
    assert all(name.startswith("ceiling of") for name in found.skipped), found.skipped
    assert [name.split(",")[0] for name in rows] == [
        "ONNX Runtime",
        EAGER,
        "ONNX Runtime",
        "ONNX Runtime",
        "OpenVINO",
        "OpenVINO",
        "OpenVINO",
        "ours fp32",
        "ours fp32",
    ]
    assert next(iter(rows)) == NAIVE, "ratios are to the first"
    assert rows[EAGER].judgement.standing == "reference"
    for row in rows.values():
        assert len(row.timing.samples) == 1
        assert row.judgement.share("truth_miou") is not None, "the pictures have annotations"
        if row.precision == "fp32":
            assert row.facts["relative_l2"] < 1e-4
            assert row.judgement.figures["pixel_agreement"] > 0.999
    assert all(row.judgement.standing == "passed" for row in rows.values() if row.facts["ours"])
    assert found.ratio(rows[NAIVE]).value == 1
    int8 = [row for row in rows.values() if row.precision == "int8"]
    assert len(int8) == 3
    assert all(row.facts["workload"]["float_flops"] == 0 for row in int8), "all their convolutions are quantised"


def test_frames_of_the_baseline_pipeline_and_ours_give_the_same_labels(found: Result) -> None:
    rows = rows_of(found, "frame")
    assert list(rows)[:2] == ["baseline pipeline, PyTorch", "baseline pipeline, ONNX Runtime naive"]
    assert len(rows) == 4
    for row in rows.values():
        assert row.facts["agreement_with_pytorch"] >= 0.999
        times = {stage: timing.median_ms for stage, timing in row.stages.items()}
        assert times["whole"] == pytest.approx(times["frame"] + times["png"], rel=1e-6)
        assert times["prepare"] + times["network"] + times["labels"] <= times["frame"] * 1.001
    assert found.ratio(rows["baseline pipeline, PyTorch"]).value == 1


def test_the_ratios_are_those_of_the_fastest_that_passes(found: Result) -> None:
    rows = rows_of(found, "network")
    best = min((row for row in rows.values() if row.facts["ours"]), key=lambda row: row.timing.median_ms)
    text = headline_markdown(found)
    expected = best.timing.samples[0] / rows[NAIVE].timing.samples[0]
    assert f"| network: {best.name} / {NAIVE} | {expected:.3f} |" in text
    assert f"| frame: {best.name} / baseline pipeline, PyTorch | " in text


def test_ceilings_are_measured_by_themselves_and_again_among_the_rounds(found: Result) -> None:
    reached = [one["name"] for one in found.facts["reached"] if one["resource"] == "fp32"]
    assert len(set(reached)) == len(reached) - 1, "the best one twice"
    assert found.facts["ceilings"]["fp32"] > 0
    assert "share of the measured peak" in headline_markdown(found)


def test_the_report_holds_every_row_and_no_path(found: Result, people: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = write_report(found, tmp_path / "out")
    plots = [f"{name}{suffix}" for name in ("headline", "roofline") for suffix in (".png", ".svg")]
    assert [path.name for path in written] == ["headline.json", "headline.md", *plots]
    text = written[1].read_text()
    for row in found.rows:
        assert row.name in text
    assert str(people.parent) not in text + written[0].read_text()
    assert "fails" in written[3].read_text() or all(row.judgement.standing != "failed" for row in found.rows)


def test_a_result_is_rendered_and_compared_again(
    found: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "headline.json"
    saved.write_text(json.dumps(found.to_dict()))
    monkeypatch.setattr("sys.argv", ["headline", "--render", str(saved)])
    headline.main()
    assert (tmp_path / "headline.md").read_text().startswith("# ")
    assert read_result(saved).to_dict() == json.loads(json.dumps(found.to_dict()))
    changes = compare(read_result(saved), found, 0.05).changes
    assert {change.candidate for change in changes} == {row.label for row in found.rows}


@pytest.mark.parametrize("name", ["headline", "headline_amx"])
def test_published_runs_are_rendered_as_they_stand(name: str) -> None:
    folder = ROOT / "benchmarks/results" / name
    pictures = ["headline.png", "roofline.png"]
    assert headline_markdown(read_result(folder / "headline.json"), pictures) == (folder / "headline.md").read_text()


def test_a_factorised_file_is_told_from_one_that_is_not(tiny_model: Path, tmp_path: Path) -> None:
    """They are of one precision, and each gets its own ratios."""
    model = onnx.load(str(tiny_model))
    (stored,) = model.metadata_props
    facts = json.loads(stored.value)
    facts["extra"]["low_rank"] = {"channels": 256, "rank": 64}
    stored.value = json.dumps(facts)
    onnx.save(model, str(tmp_path / "other.onnx"))
    opened = [make() for _, make in our_contenders((tiny_model, tmp_path / "other.onnx"), 1, ["onnxruntime"])]
    for one in opened:
        one.parser.close()
    assert [one.name for one in opened] == ["ours fp32, ONNX Runtime", "ours fp32, low rank, ONNX Runtime"]
    assert [one.kind for one in opened] == ["ours fp32", "ours fp32, low rank"]


def test_what_fails_the_gate_is_marked(found: Result) -> None:
    failures = {"failures": ["pixel agreement is 12 %, expected at least 99 %"]}
    last = rows_of(found, "network").popitem()[1]
    judgement = replace(last.judgement, standing="failed", figures={**last.judgement.figures, **failures})
    bad = replace(last, judgement=judgement)
    text = headline_markdown(replace(found, rows=tuple(bad if row is last else row for row in found.rows)))
    assert "FAILED" in text
    assert f"- {last.name}: pixel agreement is 12 %" in text


def contender(
    name: str, parser: HumanParser, change: Callable[[np.ndarray], np.ndarray], precision: str = "fp32"
) -> Contender:
    """`parser`'s network with changed logits, under another name."""
    run = parser.backend.run
    rival = Rival(name, replace(parser.metadata, precision=precision), lambda batch: [change(run(batch)[0])])
    return Contender(name, False, "fp32", HumanParser.on(rival, name=name), Path("any.onnx"))


def named(*contenders: Contender) -> Contenders:
    return Contenders({one.name: one for one in contenders})


def torch_parser(tiny: Tiny) -> HumanParser:
    return HumanParser.on(TorchBackend(tiny("schp"), label_set("lip"), SIZE), name="torch")


def test_a_float_network_that_computes_something_else_is_not_timed(tiny: Tiny) -> None:
    parser = torch_parser(tiny)
    found = named(
        contender(EAGER, parser, lambda logits: logits),
        contender("scaled", parser, lambda logits: logits * 1.001),
        contender("swapped", parser, lambda logits: logits[:, ::-1]),
        contender("coarse int8", parser, lambda logits: np.round(logits * 4) / 4, "int8"),
        contender("not finite", parser, lambda logits: logits * np.nan, "int8"),
    )
    check_exact(found, photo(FRAME))
    assert list(found.ready) == [EAGER, "coarse int8"]
    assert set(found.missing) == {"scaled", "swapped", "not finite"}
    assert "relative L2" in found.missing["scaled"]


def test_a_contender_that_cannot_be_made_becomes_a_reason() -> None:
    def make() -> Contender:
        raise OSError("libsomething.so: cannot open\nmore")

    found = Contenders()
    found.add("rival", make)
    assert found.missing == {"rival": "libsomething.so: cannot open"}


def test_the_baseline_pipeline_labels_as_the_parser(tiny: Tiny) -> None:
    parser = torch_parser(tiny)
    frame = photo(FRAME)
    baseline = BaselinePipeline(lambda image: parser.backend.run(image)[0], parser.metadata)
    labels, stages = baseline.timed(frame)
    assert labels.shape == FRAME
    assert np.mean(labels == parser(frame).labels) >= 0.999
    assert set(stages) == {"prepare", "network", "labels"}


def test_a_baseline_pipeline_that_labels_otherwise_is_refused(tiny: Tiny) -> None:
    parser = torch_parser(tiny)
    found = named(contender(EAGER, parser, lambda logits: logits))
    mirrored = BaselinePipeline(lambda image: parser.backend.run(image)[0][..., ::-1].copy(), parser.metadata)
    run = FrameRun("baseline pipeline, PyTorch", found.ready[EAGER], mirrored.timed, lambda path, labels, palette: None)
    with pytest.raises(ArithmeticError, match="computes something else"):
        check_baselines([run], found, [photo(FRAME)])


def test_the_baseline_pipeline_is_for_its_geometry_alone(tiny: Tiny) -> None:
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
    request = HeadlineRequest(checkpoint=checkpoint, data=people, files=(tiny_model,), size=(65, 65))
    with pytest.raises(ConfigError, match="its input is 97x97, that of the others 65x65"):
        measure_headline(request)


def test_a_file_that_is_not_there_is_one_line(checkpoint: Path, people: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        measure_headline(HeadlineRequest(checkpoint=checkpoint, data=people, files=(tmp_path / "none.onnx",)))


def test_compiling_has_a_time_limit() -> None:
    import time

    with pytest.raises(TimeoutError, match="too slow"), rival_runtimes._time_limit(1, "too slow"):
        time.sleep(20)


def test_torch_compile_gives_the_same_logits(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the compiler: what is tested is the way around it."""
    monkeypatch.setattr("torch.compile", lambda module: module)
    image = np.random.default_rng(0).standard_normal((1, 3, *SIZE), np.float32)
    compiled = rival_runtimes.in_torch_compiled(tiny("schp"), SIZE, 60)
    assert np.array_equal(compiled(image)[0], rival_runtimes.in_torch(tiny("schp"))(image)[0])
