"""`ce2p val --instances` over synthetic people in CIHP's layout, with the truth itself as results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ce2p.cli.val import run
from ce2p.data.annotations import read_ids, read_labels
from ce2p.data.splits import open_split
from ce2p.synthetic import write_dataset


def results_from_truth(data: Path, results: Path) -> None:
    """Store each annotation as if it had been predicted."""
    lines = []
    for sample in open_split("cihp", data, "val"):
        assert sample.labels
        assert sample.humans
        assert sample.instances
        for kind, path in (("global_parsing", sample.labels), ("global_tag", sample.humans)):
            (results / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, results / kind / f"{sample.name}.png")
        (results / "instance_parsing").mkdir(exist_ok=True)
        shutil.copy(sample.instances, results / "instance_parsing" / f"{sample.name}.png")
        classes, parts = read_labels(sample.labels), read_ids(sample.instances)
        rows = [f"{classes[parts == part][0]} {1 / part}" for part in range(1, int(parts.max()) + 1)]
        (results / "instance_parsing" / f"{sample.name}.txt").write_text("\n".join(rows) + "\n")
        people = [person for person in np.unique(read_ids(sample.humans)).tolist() if person]
        lines.append(" ".join([sample.name, *(f"{person} {1 / person}" for person in people)]))
    (results / "results.txt").write_text("\n".join(lines) + "\n")


def test_the_truth_as_result_is_perfect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, results = tmp_path / "cihp", tmp_path / "results"
    write_dataset(data, "cihp", train=0, val=4, size=(96, 128))
    results_from_truth(data, results)
    run(None, data, instances=results, strict=True, output=tmp_path / "out")
    printed = capsys.readouterr().out
    assert "PCP 0.5" in printed
    assert "AP^r is strict" in printed
    document = json.loads((tmp_path / "out/scores.json").read_text())
    assert document["mean_ap_r"] == document["mean_ap_p"] == 1.0
    assert document["pcp"] == [1.0] * 9
    assert document["parsing"]["pixel_accuracy"] == 1.0
    assert document["people"] >= 8
    run(None, data, instances=results, limit=2, json="-")
    published_way = json.loads(capsys.readouterr().out)
    assert published_way["pictures"] == 2
    with_parts = [c for c in published_way["classes"] if c["parts"]]
    assert all(c["ap_r"] == [1.0] * 9 for c in with_parts)
    # Classes without parts count as 0 there.
    assert published_way["mean_ap_r"] == pytest.approx(len(with_parts) / 19)
