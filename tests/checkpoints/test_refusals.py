"""Files that are no usable checkpoint: each is refused in one line that names the file and the fact.

Nothing inside a file is ever run, and no network comes back with some tensors missing.
"""

from __future__ import annotations

import ast
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ce2p.checkpoints import load_checkpoint
from ce2p.errors import CheckpointError, ConfigError
from ce2p.families import FAMILIES
from ce2p.models import CE2P

Tiny = Callable[..., CE2P]
State = dict[str, Tensor]
ROOT = Path(__file__).resolve().parents[2]


def refusal(path: Path, **options: Any) -> str:
    """The message with which a file is refused: one line, the file first, none of torch's own advice."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    assert "weights_only" not in message
    assert "pytorch.org" not in message
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def state(tiny: Tiny) -> State:
    """A complete tiny SCHP file's content; the mapping is the test's own, the tensors are shared."""
    layout = FAMILIES["schp"]
    return {layout.file_key(key): value for key, value in tiny("schp", 16).state_dict().items()}


@pytest.fixture(scope="session")
def intact(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One complete file in each container."""
    folder = tmp_path_factory.mktemp("intact")
    content = {key: value.clone() for key, value in tiny("schp", 16).state_dict().items()}
    layout = FAMILIES["schp"]
    content = {layout.file_key(key): value for key, value in content.items()}
    torch.save(content, folder / "zip.pth")
    torch.save(content, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(content, folder / "net.safetensors")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_content_these_tests_spoil_is_accepted_while_whole(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "net.pth")
    assert load_checkpoint(tmp_path / "net.pth").config.family == "schp"


# --- files that are something else ---


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.pth").startswith("no such file")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pth").mkdir()
    assert refusal(tmp_path / "net.pth").startswith("a folder")


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 267353088\n"
HTML_PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"
IMPOSTORS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "html": (HTML_PAGE, "HTML page of 89 bytes"),
    "html after blank lines": (b"\r\n\n  <html lang='en'>", "HTML page"),
    "html after a byte order mark": (b"\xef\xbb\xbf<!doctype html>", "HTML page"),
    "xml error": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "HTML page"),
    "git-lfs pointer": (LFS_POINTER, "267,353,088 bytes"),
    "git-lfs pointer without size": (LFS_POINTER[:50], "Git-LFS pointer"),
}


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.onnx"])
@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_an_impostor_is_named_for_what_it_is(tmp_path: Path, impostor: str, name: str) -> None:
    content, words = IMPOSTORS[impostor]
    (tmp_path / name).write_bytes(content)
    assert words in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["parsing_lip.onnx", "parsing_lip.engine"])
def test_an_exported_model_is_refused_as_such(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x051.7.1")
    assert "exported model, not a checkpoint" in refusal(tmp_path / name)


def test_noise_and_text_are_refused_under_either_suffix(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8).tobytes()
    for content in (noise, b"hello world\n" * 9, b'{"config": 1}', b"P", b"PK", b"\x80", b"\x80\x02"):
        for suffix in ("pth", "safetensors"):
            path = tmp_path / f"net.{suffix}"
            path.write_bytes(content)
            assert "damaged" in refusal(path) or "truncated" in refusal(path)


def test_a_zip_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("photo.txt", "not a network")
    assert "not a readable checkpoint" in refusal(tmp_path / "net.pth")
    with zipfile.ZipFile(tmp_path / "fake.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"not a pickle")
        archive.writestr("archive/version", b"3\n")
    refusal(tmp_path / "fake.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_torchscript_program_is_refused_as_one(tmp_path: Path) -> None:
    program = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1))  # type: ignore[no-untyped-call]
    torch.jit.save(program, tmp_path / "net.pth")
    assert "TorchScript" in refusal(tmp_path / "net.pth")


# --- damaged files ---


@pytest.mark.parametrize("kept", ["1/4", "1/2", "3/4", "all but one byte"])
@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "net.safetensors"])
def test_a_truncated_file_is_refused_as_truncated(
    tmp_path: Path, intact: dict[str, bytes], name: str, kept: str
) -> None:
    whole = intact[name]
    length = {"1/4": len(whole) // 4, "1/2": len(whole) // 2, "3/4": len(whole) * 3 // 4}.get(kept, len(whole) - 1)
    (tmp_path / name).write_bytes(whole[:length])
    message = refusal(tmp_path / name)
    assert "truncated" in message
    if name == "zip.pth":
        assert f"truncated, {length:,} bytes of a zip archive" in message


@pytest.mark.parametrize("header", [0, 7, 2**40, 2**63])
def test_a_safetensors_file_with_a_wrong_header_length_is_refused(
    tmp_path: Path, intact: dict[str, bytes], header: int
) -> None:
    (tmp_path / "net.safetensors").write_bytes(struct.pack("<Q", header) + intact["net.safetensors"][8:2000])
    assert "damaged or truncated safetensors file" in refusal(tmp_path / "net.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["fushion.3.bias", "bn1.running_var"])
def test_a_value_that_is_no_number_is_refused_with_its_tensors_name(
    tmp_path: Path, state: State, key: str, value: float
) -> None:
    state[key] = state[key].clone()
    state[key][3] = value
    torch.save(state, tmp_path / "net.pth")
    message = refusal(tmp_path / "net.pth")
    assert f"{key} holds NaN or infinity" in message


# --- files that would run code ---


class CreatesAFile:
    """Unpickled by plain pickle, it opens a file for writing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def _as_bare_pickle(protocol: int) -> Callable[[Any, Path], Any]:
    return lambda content, path: path.write_bytes(pickle.dumps(content, protocol=protocol))


WAYS_TO_PICKLE: dict[str, Callable[[Any, Path], Any]] = {
    "zip": torch.save,
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    **{f"bare, protocol {protocol}": _as_bare_pickle(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
}


@pytest.mark.parametrize("way", WAYS_TO_PICKLE)
@pytest.mark.parametrize("place", ["alone", "as a value", "among tensors", "beside the state_dict"])
@pytest.mark.filterwarnings("error")
def test_code_in_a_pickle_is_refused_and_never_run(tmp_path: Path, state: State, way: str, place: str) -> None:
    trap = CreatesAFile(tmp_path / "created")
    bare = way.startswith("bare")
    few = {} if bare else {key: state[key] for key in ("fushion.3.weight", "fushion.3.bias")}
    content = {
        "alone": trap,
        "as a value": {"state_dict": trap},
        "among tensors": {"state_dict": {**few, "extra": trap}},
        "beside the state_dict": {"state_dict": few, "epoch": trap},
    }[place]
    WAYS_TO_PICKLE[way](content, tmp_path / "net.pth")
    message = refusal(tmp_path / "net.pth")
    assert not (tmp_path / "created").exists()
    assert "asks to run io.open" in message or (bare and "torch.save did not write these bytes" in message)


def test_the_trap_these_tests_set_would_spring_under_plain_pickle(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(CreatesAFile(tmp_path / "created"))).close()
    assert (tmp_path / "created").exists()


def test_a_pickled_network_object_is_refused_with_its_class(tmp_path: Path, tiny: Tiny) -> None:
    torch.save(tiny("schp", 16), tmp_path / "net.pth")
    message = refusal(tmp_path / "net.pth")
    assert "ce2p.models.network.CE2P" in message
    assert "safetensors" in message


def test_numpy_arrays_in_a_pickle_are_refused(tmp_path: Path) -> None:
    array = np.zeros(3, dtype=np.float32)
    torch.save({"state_dict": {"fushion.3.bias": array}}, tmp_path / "torch.pth")
    assert "numpy" in refusal(tmp_path / "torch.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps({"fushion.3.bias": array}))
    refusal(tmp_path / "bare.pth")
    with (tmp_path / "array.pth").open("wb") as file:
        np.save(file, array)
    refusal(tmp_path / "array.pth")


# --- pickles without a usable set of tensors ---


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "holds nothing"),
        ([1, 2], "holds one list"),
        (torch.zeros(3), "holds one Tensor"),
        ({0: torch.zeros(3)}, "holds keys 0"),
        ({"epoch": 3, "optimizer": {"lr": 0.1}}, "'epoch' holds int"),
        ({"state_dict": {}}, "0 tensors"),
        ({"model": {0: torch.zeros(3)}}, "0 holds Tensor, expected tensors by name"),
        ({"state_dict": {"conv1.weight": torch.zeros(1), "epoch": 5}}, "'epoch' holds int"),
        ({"state_dict": {"conv1.weight": [0.0]}}, "'conv1.weight' holds list"),
        ({"conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, "conv1.weight, fc.weight"),
    ],
)
def test_a_pickle_without_a_known_networks_tensors_is_refused_with_what_it_holds(
    tmp_path: Path, content: Any, words: str
) -> None:
    torch.save(content, tmp_path / "net.pth")
    assert words in refusal(tmp_path / "net.pth")


def test_another_networks_file_is_refused_with_the_known_layouts(tmp_path: Path) -> None:
    torch.save({f"layer{i}.weight": torch.zeros(1) for i in range(9)}, tmp_path / "net.pth")
    message = refusal(tmp_path / "net.pth")
    assert "9 tensors" in message
    for title in ("SCHP", "M-CE2P", "CE2P", "sssegmentation 2020", "sssegmentation"):
        assert title in message


# --- the right network with the wrong tensors ---


@pytest.mark.parametrize(
    "key", ["conv1.weight", "edge.conv5.bias", "fushion.1.running_mean", "layer3.1.bn2.num_batches_tracked"]
)
def test_a_missing_tensor_is_named(tmp_path: Path, state: State, key: str) -> None:
    del state[key]
    torch.save(state, tmp_path / "net.pth")
    assert f"missing {key}" in refusal(tmp_path / "net.pth")


@pytest.mark.parametrize("key", ["fushion.0.weight", "fushion.3.weight", "decoder.conv4.weight"])
def test_a_missing_tensor_that_tells_layout_or_classes_is_refused_too(tmp_path: Path, state: State, key: str) -> None:
    del state[key]
    torch.save(state, tmp_path / "net.pth")
    message = refusal(tmp_path / "net.pth")
    assert f"{key} is missing" in message or "none of the layouts known" in message


def test_an_unexpected_tensor_is_named(tmp_path: Path, state: State) -> None:
    state["fushion.9.weight"] = torch.zeros(4, 2)
    torch.save(state, tmp_path / "net.pth")
    assert "unexpected fushion.9.weight 4x2" in refusal(tmp_path / "net.pth")


def test_a_wrong_shape_is_named_with_both_shapes(tmp_path: Path, state: State) -> None:
    state["decoder.conv2.1.bias"] = torch.zeros(25)
    torch.save(state, tmp_path / "net.pth")
    assert "decoder.conv2.1.bias is 25, expected 24" in refusal(tmp_path / "net.pth")


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.int16])
@pytest.mark.parametrize("key", ["conv1.weight", "fushion.3.bias", "bn1.running_var"])
def test_weights_that_are_whole_numbers_are_refused_with_both_types(
    tmp_path: Path, state: State, key: str, dtype: torch.dtype
) -> None:
    state[key] = state[key].to(dtype)
    torch.save(state, tmp_path / "net.pth")
    assert f"{key} is {dtype}, expected torch.float32" in refusal(tmp_path / "net.pth")


def test_a_count_that_is_no_whole_number_is_refused(tmp_path: Path, state: State) -> None:
    state["bn1.num_batches_tracked"] = torch.tensor(1.5)
    torch.save(state, tmp_path / "net.pth")
    assert "bn1.num_batches_tracked is torch.float32, expected torch.int64" in refusal(tmp_path / "net.pth")


def test_a_tar_of_the_first_torch_is_named_without_torchs_advice(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "net.pth", "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name))
    assert "a tar file as torch wrote them before 0.1.10" in refusal(tmp_path / "net.pth")


def test_many_wrong_tensors_are_counted_in_one_line(tmp_path: Path, state: State) -> None:
    for key in [key for key in state if key.startswith("layer4.1.")]:
        del state[key]
    torch.save(state, tmp_path / "net.pth")
    message = refusal(tmp_path / "net.pth")
    assert "missing layer4.1.conv1.weight" in message
    assert "and 6 more" in message


def test_a_backbone_of_another_depth_is_refused_with_its_depth(tmp_path: Path, state: State) -> None:
    state |= {f"layer3.{i}.conv1.weight": torch.zeros(1) for i in range(2, 9)}
    torch.save(state, tmp_path / "net.pth")
    assert "layer3 has 9 blocks" in refusal(tmp_path / "net.pth")


def test_a_tensor_named_twice_is_refused(tmp_path: Path, state: State) -> None:
    state["fushion.1.bn.weight"] = state["fushion.1.weight"] * 2
    torch.save(state, tmp_path / "net.pth")
    assert "twice" in refusal(tmp_path / "net.pth")


def test_a_file_that_mixes_prefixed_and_bare_names_is_refused(tmp_path: Path, state: State) -> None:
    state["module.conv1.weight"] = state.pop("conv1.weight")
    torch.save(state, tmp_path / "net.pth")
    message = refusal(tmp_path / "net.pth")
    assert "missing conv1.weight" in message
    assert "unexpected module.conv1.weight" in message


# --- class counts and data sets ---


def with_classes(state: State, stage1: int, final: int) -> State:
    for head, classes in (("decoder.conv4", stage1), ("fushion.3", final)):
        state[f"{head}.weight"] = torch.zeros(classes, *state[f"{head}.weight"].shape[1:])
        state[f"{head}.bias"] = torch.zeros(classes)
    return state


def test_classifiers_that_disagree_are_refused_with_both_counts(tmp_path: Path, state: State) -> None:
    torch.save(with_classes(state, 18, 20), tmp_path / "net.pth")
    message = refusal(tmp_path / "net.pth")
    assert "fushion.3.weight has 20" in message
    assert "decoder.conv4.weight has 18" in message


@pytest.mark.parametrize("classes", [0, 1, 256, 300])
def test_a_class_count_that_labels_cannot_hold_is_refused(tmp_path: Path, state: State, classes: int) -> None:
    torch.save(with_classes(state, classes, classes), tmp_path / "net.pth")
    assert f"have {classes} classes, expected 2 to 255" in refusal(tmp_path / "net.pth")


def test_a_dataset_of_another_size_is_refused_with_both_sizes(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "net.pth")
    message = refusal(tmp_path / "net.pth", dataset="atr")
    assert "has 20 classes, ATR has 18" in message
    assert "--dataset" in message


def test_a_custom_class_count_is_accepted_with_numbered_names(tmp_path: Path, state: State) -> None:
    torch.save(with_classes(state, 5, 5), tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth")
    assert loaded.config.num_classes == 5
    assert loaded.labels.names == ("Background", "class 1", "class 2", "class 3", "class 4")
    assert "has 5 classes" in refusal(tmp_path / "net.pth", dataset="lip")


@pytest.mark.parametrize("options", [{"dataset": "coco"}, {"output_stride": 4}, {"output_stride": 0}])
def test_a_wrong_option_is_refused_by_its_value(tmp_path: Path, state: State, options: dict[str, Any]) -> None:
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(ConfigError, match=str(next(iter(options.values())))):
        load_checkpoint(tmp_path / "net.pth", **options)


# --- our own format ---


def own_file(path: Path, net: CE2P, document: Any) -> Path:
    text = document if isinstance(document, str) else json.dumps(document)
    save_file(net.state_dict(), path, metadata={"ce2p": text})
    return path


SPOILS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no json": lambda document: "{",
    "a list": lambda document: [],
    "a number": lambda document: 3,
    "no config": lambda document: {"dataset": "lip", "weights": ""},
    "no weights": lambda document: {"dataset": "lip", "config": document["config"]},
    "config is a number": lambda document: document | {"config": 3},
    "config lacks a field": lambda document: document | {"config": {"family": "schp"}},
    "config has a field of the future": lambda document: document | {"config": document["config"] | {"x": 1}},
    "unknown family": lambda document: document | {"config": document["config"] | {"family": "x"}},
    "family is a list": lambda document: document | {"config": document["config"] | {"family": ["schp"]}},
    "classes are text": lambda document: document | {"config": document["config"] | {"num_classes": "20"}},
    "width is text": lambda document: document | {"config": document["config"] | {"base_width": "wide"}},
    "width is negative": lambda document: document | {"config": document["config"] | {"base_width": -8}},
    "unknown stem": lambda document: document | {"config": document["config"] | {"stem": "x"}},
    "unknown dataset": lambda document: document | {"dataset": "coco"},
    "training is a number": lambda document: document | {"training": 3},
    "another width": lambda document: document | {"config": document["config"] | {"edge_width": 32}},
    "dataset of another size": lambda document: document | {"dataset": "atr"},
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_own_file_with_spoilt_metadata_is_refused(tmp_path: Path, tiny: Tiny, spoil: str) -> None:
    net = tiny("schp", 16)
    document = {"config": net.config.to_dict(), "dataset": "lip", "weights": "untrained", "training": {}}
    assert load_checkpoint(own_file(tmp_path / "fine.safetensors", net, document)).config == net.config
    refusal(own_file(tmp_path / "own.safetensors", net, SPOILS[spoil](document)))


# --- the rule behind all this, for the whole repository ---

_FORBIDDEN_CALLS = ("pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "dill.load", "dill.loads")
_FORBIDDEN_MODULES = {"joblib", "dill", "cloudpickle", "marshal", "shelve"}
_UNPICKLERS = {"load", "loads", "Unpickler"}


def unsafe_reads(source: str) -> Iterator[str]:
    """What in a Python source could run code out of a file it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            if called == "torch.load" and options.get("weights_only") != "True":
                yield f"line {node.lineno}: {called} without weights_only=True"
            if called.endswith(_FORBIDDEN_CALLS):
                yield f"line {node.lineno}: {called}"
            if options.get("allow_pickle", "False") != "False":
                yield f"line {node.lineno}: {called} with allow_pickle"
        elif isinstance(node, ast.ImportFrom) and node.module in {"pickle", "torch"}:
            for alias in node.names:
                if alias.name in _UNPICKLERS:
                    yield f"line {node.lineno}: from {node.module} import {alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in _FORBIDDEN_MODULES or (alias.name in {"pickle", "torch"} and alias.asname):
                    yield f"line {node.lineno}: import {alias.name}"


def test_no_source_reads_files_in_a_way_that_could_run_code() -> None:
    sources = [path for folder in ("ce2p", "export", "runtime") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert ROOT / "ce2p" / "checkpoints" / "reading.py" in sources
    found = [f"{path.relative_to(ROOT)} {what}" for path in sources for what in unsafe_reads(path.read_text("utf-8"))]
    assert found == []


def test_no_line_of_the_sources_spells_an_unsafe_read() -> None:
    """The same by text alone, for code in strings."""
    for folder in ("ce2p", "export", "runtime"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                place = f"{path.relative_to(ROOT)}:{number}"
                assert "pickle.load" not in line, place
                assert "allow_pickle=True" not in line, place
                assert "weights_only=False" not in line, place
                assert "torch.load(" not in line or "weights_only=True" in line, place


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=flag)",
        "import pickle\npickle.load(file)",
        "import pickle\nx = pickle.loads(data)",
        "from pickle import loads",
        "from torch import load",
        "import pickle as p",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import joblib",
    ],
)
def test_the_search_for_unsafe_reads_finds_each_kind(source: str) -> None:
    assert list(unsafe_reads(source))


def test_the_search_for_unsafe_reads_accepts_safe_ones() -> None:
    safe = "import torch, pickle\ntorch.load(path, weights_only=True)\nexcept_ = pickle.UnpicklingError\n"
    assert list(unsafe_reads(safe)) == []
    assert list(unsafe_reads("import numpy as np\nnp.load(path)\nnp.load(path, allow_pickle=False)")) == []
