"""Checkpoints made to deceive: values out of range, other kinds of tensors, archives that lie. Each is one line."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from ce2p.checkpoints import load_checkpoint
from ce2p.models import CE2P
from tests.hostile.isolated import Outcome, run_isolated
from tests.hostile.reading_checkpoints import load, narrow_network, public_names, unacceptable

_ROOM = 2**33
Document = dict[str, Any]
Case = tuple[str, bytes]
"""A name, and the content of a file with this suffix."""

_ODD: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    16.0,
    0.5,
    1e9,
    1_000_000,
    10**30,
    float("nan"),
    float("inf"),
    -float("inf"),
    "",
    "x",
    "16",
    "\x1b[31m",
    "a\nb",
    [],
    [1],
    [1, 2, 3],
    {},
    {"a": 1},
]


def load_all(folder: Path, cases: list[Case]) -> list[Outcome]:
    """What comes of every case in a child process; each was found to be a network or a refusal in one line."""

    def files() -> Iterator[Path]:
        for name, content in cases:
            path = folder / f"net.{name.rpartition('.')[2]}"
            path.write_bytes(content)
            yield path

    outcomes = run_isolated(load, files(), memory=_ROOM)
    assert unacceptable(outcomes, [name for name, _ in cases]) == []
    assert max(outcome.peak for outcome in outcomes) < 2**30
    return outcomes


def not_refused(folder: Path, cases: list[Case]) -> list[str]:
    """The names of the cases that came as far as a network, or as a comparison of its shapes."""
    outcomes = zip(cases, load_all(folder, cases), strict=True)
    return [name for (name, _), found in outcomes if found.kind != "refused" or "does not fit" in found.value]


# --- what our own files say about themselves ---


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in narrow_network().state_dict().items()}


@pytest.fixture(scope="module")
def document() -> Document:
    labels = {
        "dataset": "custom",
        "title": "mine",
        "names": ["ground", "Left-shoe", "Right-shoe"],
        "flip_pairs": [[1, 2]],
    }
    return {
        "config": narrow_network().config.to_dict(),
        "dataset": "custom",
        "labels": labels,
        "weights": "untrained",
        "training": {"input_size": [33, 33], "epochs": 1, "scores": {"mean_iou": 0.5}},
    }


def own_file(tensors: dict[str, Tensor], document: Any) -> bytes:
    text = document if isinstance(document, str) else json.dumps(document)
    return save(tensors, metadata={"ce2p": text})


def places(document: Document) -> Iterator[list[str]]:
    """The way to every value of a document that is no group itself."""
    for key, value in document.items():
        yield [key]
        if isinstance(value, dict):
            yield from ([key, *rest] for rest in places(value))


def with_value(document: Document, place: list[str], value: Any) -> Document:
    changed = copy.deepcopy(document)
    node = changed
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return changed


def test_no_value_of_our_own_metadata_is_believed(
    tmp_path: Path, tensors: dict[str, Tensor], document: Document, fuzz_seed: int
) -> None:
    draw = random.Random(fuzz_seed)  # noqa: S311  (repeatable, not secret)
    cases = [("as written.safetensors", own_file(tensors, document))]
    for place in places(document):
        for value in draw.sample(_ODD, 6):
            name = f"{'.'.join(place)} is {value!r}.safetensors"
            cases.append((name, own_file(tensors, with_value(document, place, value))))
    kinds = [outcome.kind for outcome in load_all(tmp_path, cases)]
    assert kinds[0] == "returned"
    assert kinds.count("refused") > len(kinds) / 2


LIES: dict[str, Callable[[Document], Any]] = {
    "a list 20,000 deep": lambda document: "[" * 20_000 + "]" * 20_000,
    "objects 100,000 deep": lambda document: '{"config":' * 100_000 + "1" + "}" * 100_000,
    "a field 100,000 deep": lambda document: (
        json.dumps(document)[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    ),
    "two megabytes": lambda document: with_value(document, ["training", "x"], "y" * 2**21),
    "ceil_pool of null": lambda document: with_value(document, ["config", "ceil_pool"], None),
    "ceil_pool of 1000000": lambda document: with_value(document, ["config", "ceil_pool"], 1_000_000),
    "an input of 1e9": lambda document: with_value(document, ["training", "input_size"], [10**9, 10**9]),
    "an input of three sides": lambda document: with_value(document, ["training", "input_size"], [33, 33, 33]),
    "an input of true": lambda document: with_value(document, ["training", "input_size"], [True, True]),
    "flip pairs of 100": lambda document: with_value(document, ["labels", "flip_pairs"], [[100, 101]]),
    "a class in two flip pairs": lambda document: with_value(document, ["labels", "flip_pairs"], [[1, 2], [1, 2]]),
    "an escape in the weights": lambda document: with_value(document, ["weights"], "trained\x1b[2J"),
    "flip pairs from the end": lambda document: with_value(document, ["labels", "flip_pairs"], [[-2, -1]]),
    "half a character": lambda document: json.dumps(document).replace("untrained", "\\ud800"),
    "an escape in a class name": lambda document: with_value(document, ["labels", "names"], ["a", "\x1b[2J", "c"]),
    "a class name of a megabyte": lambda document: with_value(document, ["labels", "names"], ["a", "b" * 10**6, "c"]),
    "text behind the document": lambda document: json.dumps(document) + "]",
}


def test_lies_of_our_own_metadata_are_refused(tmp_path: Path, tensors: dict[str, Tensor], document: Document) -> None:
    cases = [(f"{name}.safetensors", own_file(tensors, lie(document))) for name, lie in LIES.items()]
    assert not_refused(tmp_path, cases) == []


def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path) -> None:
    def of(header: bytes) -> bytes:
        return struct.pack("<Q", len(header)) + header + bytes(64)

    def tensor(kind: str, shape: list[int], end: int = 64) -> bytes:
        return of(json.dumps({"a": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}).encode())

    cases = [
        ("nested 50,000 deep.safetensors", of(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)),
        ("of 20 MB.safetensors", of(b" " * 20_000_000)),
        ("a tensor of 2**63.safetensors", tensor("F32", [2**63 - 1])),
        ("an empty tensor of 2**40 rows.safetensors", tensor("F32", [2**40, 0], 0)),
        ("an unknown type.safetensors", tensor("F4", [128])),
        ("complex.safetensors", tensor("C64", [8])),
        ("metadata that is a number.safetensors", of(b'{"__metadata__":{"ce2p":3}}')),
    ]
    assert not_refused(tmp_path, cases) == []


# --- tensors that are none ---


def quantised(value: Tensor) -> Tensor:
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


def nested(value: Tensor) -> Tensor:
    return torch.nested.nested_tensor([value, value])


ODDITIES: dict[str, Callable[[Tensor], Any]] = {
    "sparse": lambda value: value.to_sparse(),
    "sparse rows": lambda value: value.reshape(1, -1).to_sparse_csr(),
    "quantised": quantised,
    "meta": lambda value: value.to("meta"),
    "complex": lambda value: value.to(torch.complex64),
    "conjugated": lambda value: value.to(torch.complex64).conj(),
    "turned round": lambda value: value.to(torch.complex64).conj().imag,
    "nested": nested,
    "truth values": lambda value: value > 0,
    "eight-bit floats": lambda value: value.to(torch.float8_e4m3fn),
    "unsigned": lambda value: value.to(torch.int32).view(torch.uint32),
    "a number": lambda value: 1.0,
    "a list": lambda value: value.tolist(),
    "a storage": lambda value: value.untyped_storage(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
def test_other_kinds_of_tensors_are_refused(tmp_path: Path, zipped: bool) -> None:
    state = public_names(narrow_network())
    cases, unwritable = [], []
    for name, oddity in ODDITIES.items():
        for key in ("bn1.weight", "fushion.3.bias"):
            buffer = io.BytesIO()
            try:
                torch.save(state | {key: oddity(state[key])}, buffer, _use_new_zipfile_serialization=zipped)
            except Exception:
                unwritable.append(name)  # torch itself does not write these
                continue
            cases.append((f"{name} as {key}.pth", buffer.getvalue()))
    assert not_refused(tmp_path, cases) == []
    assert len(set(unwritable)) < 4


def test_a_million_million_times_one_number_takes_no_memory(tmp_path: Path) -> None:
    state = public_names(narrow_network()) | {"bn1.weight": torch.zeros(1).expand(10**12)}
    (found,) = load_all(tmp_path, [("expanded.pth", archive_of(state))])
    assert "bn1.weight is 1000000000000, expected 32" in found.value


def test_expanded_weights_are_made_whole_before_use(tmp_path: Path, tiny: Callable[..., CE2P]) -> None:
    """One number that stands for many is legal, and adding to it in place would not be."""
    state = public_names(tiny("schp"))
    state["bn1.weight"] = torch.ones(1).expand(state["bn1.weight"].shape)
    torch.save(state, tmp_path / "net.pth")
    weight = load_checkpoint(tmp_path / "net.pth").net.get_parameter("backbone.stem.0.norm.weight")
    assert weight.is_contiguous()
    assert weight.untyped_storage().nbytes() >= 4 * weight.numel()


# --- archives that lie ---


def archive_of(state: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def rewritten(data: bytes, change: Callable[[str, bytes], bytes | None], kind: int = zipfile.ZIP_STORED) -> bytes:
    """The archive with every record as `change(name, content)` gives it; None leaves a record out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w", kind) as target:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                target.writestr(name, content)
    return buffer.getvalue()


def with_stated_size(data: bytes, size: int) -> bytes:
    """The largest record's size as the directory tells it, while the record itself stays."""
    directory = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        largest = max(source.infolist(), key=lambda record: record.file_size)
    at = data.index(b"PK\x01\x02", data.rindex(largest.filename.encode()) - 46)
    struct.pack_into("<II", directory, at + 20, size, size)
    return bytes(directory)


def zip_lies(state: dict[str, Tensor]) -> dict[str, bytes]:
    plain = rewritten(archive_of(state), lambda name, content: content)  # with an ordinary directory, without zip64
    bomb = rewritten(
        plain, lambda name, content: bytes(2**26) if name.endswith("/data/0") else content, zipfile.ZIP_DEFLATED
    )
    many = io.BytesIO(plain)
    with zipfile.ZipFile(many, "a") as archive:
        for number in range(21_000):
            archive.writestr(f"archive/data/x{number}", b"")
    twice = io.BytesIO(plain)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(twice, "a") as archive:
        archive.writestr(archive.namelist()[0], b"other")
    wide = bytearray(archive_of(state))  # as torch writes it, with zip64's end
    struct.pack_into("<Q", wide, wide.rindex(b"PK\x06\x06") + 40, 2**40)
    encrypted = bytearray(plain)
    directory = plain.index(b"PK\x01\x02")
    encrypted[directory + 8] |= 1
    return {
        "a record of 3 GB": with_stated_size(plain, 3_000_000_000),
        "a record of 3 GB, deflated": with_stated_size(bomb, 3_000_000_000),
        "64 MB in 64 kB": bomb,
        "a directory of a terabyte": bytes(wide),
        "21,000 records": many.getvalue(),
        "a name twice": twice.getvalue(),
        "encrypted": bytes(encrypted),
        "no pickle": rewritten(plain, lambda name, content: None if name.endswith("data.pkl") else content),
        "a pickle of 20 MB": rewritten(
            plain, lambda name, content: content + bytes(20_000_000 * name.endswith(".pkl"))
        ),
        "records half as long": rewritten(plain, lambda name, content: content[: len(content) // 2]),
        "records twice as long": rewritten(plain, lambda name, content: content * (1 + ("/data/" in name))),
        "empty": b"PK\x05\x06" + bytes(18),
        "something in front": b"PK" + bytes(1000) + plain,
    }


def test_archives_that_lie_are_refused_before_they_are_read(tmp_path: Path) -> None:
    lies = zip_lies(public_names(narrow_network()))
    assert not_refused(tmp_path, [(f"{name}.pth", content) for name, content in lies.items()]) == []


def test_a_flipped_bit_in_the_weights_of_a_pth_is_noticed(tmp_path: Path, fuzz_seed: int) -> None:
    data, draw = archive_of(public_names(narrow_network())), random.Random(fuzz_seed)  # noqa: S311
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = [record for record in archive.infolist() if "/data/" in record.filename and record.file_size > 64]
    cases = []
    for record in draw.sample(records, 20):
        start = record.header_offset + 30 + int.from_bytes(data[record.header_offset + 26 :][:2], "little")
        start += int.from_bytes(data[record.header_offset + 28 :][:2], "little")
        damaged = bytearray(data)
        damaged[start + draw.randrange(record.file_size)] ^= 1 << draw.randrange(8)
        cases.append((f"{record.filename} flipped.pth", bytes(damaged)))
    for (name, _), outcome in zip(cases, load_all(tmp_path, cases), strict=True):
        assert f"the checksum of its record '{name.removesuffix(' flipped.pth')}' is wrong" in outcome.value


def test_an_old_file_whose_storage_says_gigabytes_is_refused_for_little_memory(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(70_001)}, buffer, _use_new_zipfile_serialization=False)
    data, number = buffer.getvalue(), struct.pack("<i", 70_001)
    assert number in data
    cases = [
        (f"{count}.pth", data.replace(b"J" + number, b"\x8a\x06" + count.to_bytes(6, "little")))
        for count in (750_000_000, 25_000_000_000, 2**46)
    ]
    assert not_refused(tmp_path, cases) == []


def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "zero.safetensors").symlink_to("/dev/zero")
    paths = [tmp_path / "pipe.pth", tmp_path / "zero.safetensors"]
    for outcome in run_isolated(load, paths):
        assert outcome.kind == "refused"
        assert "a device or pipe; expected a checkpoint" in outcome.value
