"""A result as JSON and back, its verdicts, and what damaged files get."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ce2p.benchmarking.document import read_result
from ce2p.benchmarking.report import markdown
from ce2p.errors import DataError
from tests.benchmarking.made_up import WOBBLE, judgement, result, row, stages, three, timing

RESULTS = Path(__file__).parents[2] / "benchmarks/results"


def written(tmp_path: Path, document: dict[str, Any]) -> Path:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    return path


def test_what_is_written_is_read_back_whole(tmp_path: Path) -> None:
    first = three()
    again = read_result(written(tmp_path, first.to_dict()))
    assert again == first
    network = row(scope="network", stages={"network": stages()["network"]}, facts={"ours": True})
    told = result(row(), network, facts={"ceilings": {"fp32": 1e9}})
    assert read_result(written(tmp_path, told.to_dict())) == told
    assert again.to_dict() == first.to_dict()


def test_the_json_holds_every_sample_and_what_follows_from_them() -> None:
    document = three().to_dict()
    assert (document["kind"], document["schema"]) == ("ce2p benchmark", 1)
    fast = document["candidates"][1]
    network = fast["stages_ms"]["network"]
    assert network["samples"] == [50.0 * factor for factor in WOBBLE]
    assert (network["p50"], network["p95"], network["p99"]) == (50.5, 51.5, 51.5)
    assert network["p99_is_slowest"] is True
    assert fast["over_first"]["network"]["value"] == pytest.approx(0.5)
    assert fast["over_first"]["frame"]["high"] == pytest.approx(57.2 / 105.2)
    assert fast["throughput"]["4"]["frames_per_second"] == pytest.approx(1000 / (95 * 1.01))


def test_p99_is_no_longer_the_slowest_with_a_hundred_rounds() -> None:
    many = row(stages=stages(wobble=tuple(1 + index / 1000 for index in range(100))))
    network = result(many).to_dict()["candidates"][0]["stages_ms"]["network"]
    assert network["p99_is_slowest"] is False
    assert network["p99"] == pytest.approx(109.8)


def test_no_speed_is_a_win_unless_the_labels_are_good() -> None:
    first, fast, wrong = three().rows
    found = three()
    assert [found.verdict(r) for r in found.rows] == ["the first", "faster", "fails the gate"]
    unjudged = dataclasses.replace(fast, judgement=judgement("not judged"))
    assert result(first, unjudged).verdict(unjudged) == "faster, labels not judged"
    slow = row("d.onnx", stages=stages(200.0))
    assert result(first, slow).verdict(slow) == "slower"
    same = row("e.onnx")
    assert result(first, same).verdict(same) == "no difference"
    assert result(wrong, first).verdict(wrong) == "fails the gate"


def test_noise_of_a_candidate_and_of_the_machine_are_warnings() -> None:
    noisy = row("b.onnx", stages=stages(wobble=(1.0, 1.0, 1.0, 1.0, 1.0, 1.4)))
    found = result(row(), noisy, disturbances=("the load average was 3.0",))
    assert found.warnings == ["the load average was 3.0", "b.onnx onnxruntime: p95 lies 40% above p50 (more than 15%)"]
    assert result().warnings == []


def without(document: dict[str, Any], *path: str | int) -> dict[str, Any]:
    copy: Any = json.loads(json.dumps(document))
    place = copy
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return dict(copy)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("kind",), "ce2p gate", "holds something else"),
        (("schema",), 2, "schema 2, this version reads 1"),
        (("candidates",), [], "no candidates"),
        (("candidates",), 5, "garbles a field"),
        (("machine",), "x", "garbles a field"),
        (("candidates", 0, "gate", "standing"), "fine", "standing 'fine'"),
        (("candidates", 0, "stages_ms", "network", "samples"), [], "no times"),
        (("candidates", 0, "stages_ms", "network", "samples"), [1.0, -1.0], "no times"),
        (("candidates", 0, "stages_ms", "network", "samples"), ["x"], "garbles a field"),
        (("candidates", 0, "throughput"), {"x": 1}, "garbles a field"),
        (("candidates", 0, "input_size"), [1], "garbles a field"),
    ],
)
def test_foreign_and_damaged_documents_get_one_line(
    path: tuple[str | int, ...], value: object, said: str, tmp_path: Path
) -> None:
    document = json.loads(json.dumps(three().to_dict()))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    file = written(tmp_path, document)
    with pytest.raises(DataError, match=said) as refused:
        read_result(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert "\n" not in str(refused.value)


def test_every_missing_field_gets_one_line(tmp_path: Path) -> None:
    document = three().to_dict()
    needed: list[tuple[str | int, ...]] = [(key,) for key in document if key not in {"warnings", "facts"}]
    derived = {"over_first", "noise", "untrained", "scope", "facts"}  # the last three are new: older files do without
    needed += [("candidates", 1, key) for key in document["candidates"][1] if key not in derived]
    needed += [("candidates", 0, "stages_ms", "frame"), ("candidates", 0, "stages_ms", "frame", "samples")]
    for path in needed:
        with pytest.raises(DataError):
            read_result(written(tmp_path, without(document, *path)))


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/benchmark.json")), ids=lambda path: path.parent.name)
def test_published_results_are_read(path: Path) -> None:
    found = read_result(path)
    assert found.rows
    assert found.rows[0].timing.samples
    assert "Method" in markdown(found)


def test_networks_and_frames_are_compared_among_themselves() -> None:
    """A run of both: ratios are to the first of the same scope, and noise says of which it is."""
    noisy = {"network": timing(50.0, (1.0, 1.0, 1.0, 1.0, 1.0, 1.4))}
    networks = [row("a.onnx", scope="network"), row("b.onnx", scope="network", stages=noisy)]
    found = result(networks[0], row("a.onnx"), networks[1], row("b.onnx", stages=stages(210.0)))
    assert found.ratio(found.rows[3]).value == pytest.approx(215.2 / 105.2)
    assert [found.first(scope).scope for scope in ("network", "frame")] == ["network", "frame"]
    assert found.warnings == ["b.onnx onnxruntime, network alone: p95 lies 40% above p50 (more than 15%)"]
    assert len({row.key for row in found.rows}) == 4


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\x00\x01", '{"kind": "ce2p benchmark"', "null"])
def test_what_is_no_result_gets_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(DataError, match="expected a result of `ce2p benchmark --json`"):
        read_result(path)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="no JSON"):
        read_result(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_result(tmp_path / "none.json")
