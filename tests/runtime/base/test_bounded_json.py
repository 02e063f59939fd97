"""JSON from strangers: what is fine is read, everything else is a ValueError of one line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ce2p_runtime.base.bounded_json import read_json
from tests.hostile.mutations import mutations


@pytest.mark.parametrize(
    "document",
    [{"a": [1, -2.5, None, True, "x]}["]}, "", 0, [2**64, -(2**64), 1e308], {"smile": "\U0001f600", "é": '"\\'}],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_json_writes_is_read(document: object, ascii_only: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only)
    assert read_json(text, what="it") == read_json(text.encode(), what="it") == document


def nested(levels: int) -> str:
    return '{"[": [' * (levels // 2) + "1" + "]}" * (levels // 2)


def test_depth_is_counted_in_levels_and_not_in_strings() -> None:
    assert read_json(nested(64), what="it") == json.loads(nested(64))
    assert read_json(nested(10), what="it", depth=10) == json.loads(nested(10))
    with pytest.raises(ValueError, match=r"it: is no JSON .*nested too deep: more than 9"):
        read_json(nested(10), what="it", depth=9)
    with pytest.raises(ValueError, match="nested too deep, expected at most 1000000 levels"):
        read_json(nested(200_000), what="it", depth=1_000_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ('{"a": 1', "Expecting ',' delimiter"),
        ('"open', "Unterminated string"),
        (b"\xff\xfe", "no UTF-8"),
        ("[" * 100_000, "nested too deep: more than 64"),
        ("NaN", "NaN is not a number"),
        ("[-Infinity]", "-Infinity is not a number"),
        ("1e999", "1e999 is too large"),
        ("-1e999", "-1e999 is too large"),
        ("9" * 1_000_000, "of 1000000 digits is beyond 64 bits"),
        (str(2**64 + 1), "beyond 64 bits"),
        ('"\\ud800"', "surrogates not allowed"),
        ('{"\\udc00": 1}', "surrogates not allowed"),
    ],
)
def test_what_is_no_good_json_is_one_line_that_names_it(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_json(text, what="metadata of a.onnx")
    assert str(caught.value).startswith("metadata of a.onnx: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def damaged(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    document = {"mean": [0.5, 1e-3], "classes": ["Coat", "H\\u00e4nde", "\u624b"], "deep": [[[{}]]], "size": [473, 473]}
    return mutations(json.dumps(document).encode(), seed, count)


def test_damage_is_read_or_refused_and_nothing_else(fuzz_seed: int, fuzz_count: int) -> None:
    refusals = {}
    for name, data in damaged(fuzz_seed, fuzz_count):
        try:
            read_json(data, what=name)
        except ValueError as error:
            refusals[name] = str(error)
    assert refusals
    for name, text in refusals.items():
        assert text.startswith(f"{name}: ")
        assert "\n" not in text
