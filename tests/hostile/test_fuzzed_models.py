"""Damaged exported models and sidecars: each parses as the undamaged one does, or is refused in one line."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ce2p.api.inspect import inspect
from ce2p.cli.inspect import show
from ce2p_runtime import HumanParser
from ce2p_runtime.backends import BACKENDS
from ce2p_runtime.errors import CE2PRuntimeError
from ce2p_runtime.model_files.engine_file import sidecar_path
from ce2p_runtime.model_files.onnx_file import onnx_digest
from tests.hostile.isolated import Outcome, run_isolated
from tests.hostile.model_files import METADATA, small_model, with_metadata
from tests.hostile.mutations import mutations
from tests.hostile.test_hostile_models import sidecar

FRAME = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


class Case(NamedTuple):
    name: str
    content: bytes
    backends: tuple[str, ...]


def used(case: Case) -> dict[str, Any]:
    """What each backend parses with a file, and whether it can be inspected; messages of refusals."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.onnx"
        path.write_bytes(case.content)
        for name in case.backends:
            try:
                with HumanParser(path, backend=name, device="cpu", threads=1) as parser:
                    found[name] = parser(FRAME).labels
            except CE2PRuntimeError as error:
                found[name] = str(error)
        found["inspect"] = inspected(path)
        try:
            found["digest"] = onnx_digest(path)
        except (CE2PRuntimeError, ValueError) as error:
            found["digest"] = str(error)
    return found


def inspected(path: Path) -> str:
    """What `ce2p inspect` prints for people, or its one line."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            show(path, inspect(path))
        except CE2PRuntimeError as error:
            return str(error)
    return printed.getvalue()


def checked(outcomes: list[Outcome]) -> Counter[str]:
    """Nothing crashed, hung or raised, memory stayed small, refusals are lines; how often each thing happened."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        assert outcome.kind == "returned", (outcome.case[0], outcome.kind, outcome.value)
        assert outcome.peak < 2**30, (outcome.case[0], outcome.peak)
        for name, result in outcome.value.items():
            if name in BACKENDS:
                counts[f"{name} {'refused' if isinstance(result, str) else 'parsed'}"] += 1
                assert not isinstance(result, str) or "\n" not in result, (outcome.case[0], result)
    return counts


def test_damaged_files_parse_as_the_undamaged_or_not_at_all(fuzz_seed: int, fuzz_count: int, tmp_path: Path) -> None:
    whole = small_model(tmp_path / "x.onnx", digest=True).read_bytes()
    cases = [Case(name, data, tuple(BACKENDS)) for name, data in mutations(whole, fuzz_seed, fuzz_count)]
    first, *outcomes = run_isolated(used, [Case("undamaged", whole, tuple(BACKENDS)), *cases])
    expected = first.value
    counts = checked([first, *outcomes])
    assert counts["onnxruntime refused"] > fuzz_count // 2
    for outcome in outcomes:
        for backend in BACKENDS:
            labels = outcome.value[backend]
            # Metadata is not part of the digest: whoever changes it on purpose may.
            if not isinstance(labels, str) and outcome.value["digest"] != expected["digest"]:
                np.testing.assert_array_equal(labels, expected[backend], err_msg=outcome.case[0])


def test_damaged_files_without_a_digest_do_no_harm(fuzz_seed: int, fuzz_count: int, tmp_path: Path) -> None:
    """Files of before, and those of somebody who takes the digest out: what is wrong gets further."""
    whole = small_model(tmp_path / "x.onnx", digest=False).read_bytes()
    names = list(BACKENDS)
    cases = [
        Case(name, data, (names[index % len(names)],))
        for index, (name, data) in enumerate(mutations(whole, fuzz_seed + 1, fuzz_count))
    ]
    counts = checked(run_isolated(used, cases))
    assert all(counts[f"{name} parsed"] and counts[f"{name} refused"] for name in names), counts


VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    255,
    256,
    2**31,
    2**64,
    10**30,
    -0.5,
    1e-300,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x1b[2J",
    "\ud800",
    "x" * 100_000,
    [],
    [1],
    [[]],
    [None] * 3,
    {},
    {"a": 1},
    [[[[]]]],
    list(range(1000)),
]


def garbled(document: Any, seed: int, count: int) -> Iterator[tuple[str, str]]:
    """JSON with members of other values, missing ones, renamed ones, and nesting without end."""
    for number in range(count):
        draw = random.Random(f"{seed}:{number}")  # noqa: S311  (repeatable, not secret)
        changed = copy.deepcopy(document)
        for _ in range(draw.choice((1, 1, 1, 3))):
            place = draw.choice(list(_places(changed)))
            kind = draw.randrange(10)
            key = draw.choice(list(place)) if isinstance(place, dict) else draw.randrange(len(place))
            if kind == 0:
                del place[key]
            elif kind == 1 and isinstance(place, dict):
                place[draw.choice(("", "extra", "digest", "\x1b[2J", "kind"))] = place.pop(key)
            else:
                place[key] = draw.choice(VALUES)
        text = json.dumps(changed)
        if draw.randrange(10) == 0:
            depth = draw.choice((60, 70, 5_000, 200_000))
            text = text.replace(": [", ": " + "[" * depth, 1)
            text = text.replace("]", "]" * depth, 1) if draw.random() < 0.7 else text
        yield f"seed {seed}, case {number}", text


def _places(document: Any) -> Iterator[Any]:
    """Every object and list that has something in it."""
    if isinstance(document, (dict, list)) and document:
        yield document
        for value in document.values() if isinstance(document, dict) else document:
            yield from _places(value)


def test_garbled_metadata_does_no_harm(fuzz_seed: int, fuzz_count: int, tmp_path: Path) -> None:
    whole = small_model(tmp_path / "x.onnx", digest=False).read_bytes()
    document = json.loads(METADATA.to_json())
    cases = [
        Case(name, with_metadata(whole, text), ("onnxruntime",))
        for name, text in garbled(document, fuzz_seed, max(1, fuzz_count * 2 // 5))
    ]
    counts = checked(run_isolated(used, cases))
    assert counts["onnxruntime refused"]


def read_engine(case: tuple[str, bytes]) -> str:
    """Inspect an engine with this sidecar, which reads all there is to read of one without a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder) / "x.engine"
        engine.write_bytes(b"a plan")
        sidecar_path(engine).write_bytes(case[1])
        return inspected(engine)


def test_garbled_sidecars_do_no_harm(fuzz_seed: int, fuzz_count: int, tmp_path: Path) -> None:
    document = sidecar(tmp_path / "x.engine")
    damaged = list(mutations(json.dumps(document).encode(), fuzz_seed, fuzz_count // 2))
    cases = [*damaged, *((name, text.encode()) for name, text in garbled(document, fuzz_seed, fuzz_count // 2))]
    refused = 0
    for outcome in run_isolated(read_engine, cases):
        assert outcome.kind == "returned", (outcome.case[0], outcome.kind, outcome.value)
        assert outcome.peak < 2**30
        assert "TensorRT engine" in outcome.value or "\n" not in outcome.value, outcome.value
        refused += "\n" not in outcome.value
    assert refused > 0
