"""Recipes: the published values, what overrides what, the round trip, and one clear line for every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ce2p.errors import ConfigError
from ce2p.models import model_names
from ce2p.training.recipe import AdamW, SelfCorrectionConfig, recipe_names, resolve, to_yaml

PUBLISHED: dict[str, tuple[Any, ...]] = {
    # family, size, epochs, batch, lr, momentum, decay, schedule (reference: the public run scripts and configs)
    "ssseg": ("ssseg", (473, 473), 150, 32, 0.01, 0.9, 5e-4, "poly"),
    "ce2p": ("ce2p", (384, 384), 150, 96, 1e-3, 0.9, 5e-4, "poly"),
    "schp": ("schp", (473, 473), 150, 48, 7e-3, 0.9, 5e-4, "self-correction"),
    "mce2p": ("mce2p", (473, 473), 151, 40, 7e-3, 0.9, 5e-4, "poly"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_recipes_on_lip(name: str) -> None:
    config = resolve("lip-r101-os16", name, [])
    chosen = config.optimiser
    assert chosen.name == "sgd"
    assert (
        config.family,
        config.input_size,
        config.epochs,
        config.batch,
        chosen.lr,
        chosen.momentum,
        chosen.weight_decay,
        config.schedule.name,
    ) == PUBLISHED[name]
    assert config.precision == "fp32"
    assert config.recipe == name


def test_every_row_of_the_result_tables() -> None:
    for name in (name for name in model_names() if name.startswith(("voc-", "lip-", "cihp-", "atr-", "ppp-"))):
        config = resolve(name, None, [])
        voc = name.startswith("voc")
        assert (config.recipe, config.dataset, config.optimiser.lr) == ("ssseg", name[: name.index("-")], 0.01)
        assert (config.batch, config.epochs) == ((16, 60) if voc else (32, 150))
        assert config.input_size == ((512, 512) if voc else (473, 473))
        assert config.loss.edge_balance == ("pixels" if voc else "weights")
        parameters = config.augmentation.parameters()
        assert parameters["keep_ratio"] is voc
        assert parameters["scale_range"] == ((0.5, 2.0) if voc else (0.75, 1.25))
        assert parameters["rotation_probability"] == (0.0 if voc else 0.6)
        assert parameters["flip_probability"] == 0.5


def test_schp_has_its_cycles_losses_and_sizes() -> None:
    config = resolve("lip-r101-os16", "schp", [])
    loss = config.loss
    assert (loss.lovasz, loss.cross_entropy, loss.edge, loss.consistency) == (0.5, 0.5, 1.0, 0.1)
    assert config.self_correction == SelfCorrectionConfig(start_epoch=100, cycle_epochs=10)
    assert [epoch for epoch in range(150) if config.self_correction.ends_cycle(epoch)] == [99, 109, 119, 129, 139, 149]
    assert resolve("atr-r101-os16", "schp", []).input_size == (512, 512)
    assert resolve("ppp-r101-os16", "schp", []).input_size == (512, 512)
    assert config.augmentation.parameters()["half_pixel"] is False
    assert resolve("lip-r101-os16", "ce2p", []).augmentation.parameters()["half_pixel"] is True


def test_any_value_can_be_overridden() -> None:
    config = resolve(
        "lip-r101-os16",
        "schp",
        ["optimiser.lr=0.02", "batch=8", "ema=0.999", "precision=bf16", "input_size=256", "micro_batch=4"],
    )
    assert (config.optimiser.lr, config.batch, config.ema, config.precision) == (0.02, 8, 0.999, "bf16")
    assert config.input_size == (256, 256)
    assert config.optimiser.weight_decay == 5e-4  # its neighbours stay
    assert resolve("lip-r101-os16", None, ["input_size=[512, 384]"]).input_size == (512, 384)


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("1E+0", 1.0), (".5e-1", 0.05), ("2.5e-4", 2.5e-4)])
def test_numbers_with_exponents_are_numbers(text: str, value: float) -> None:
    assert resolve("lip-r18-os16", None, [f"optimiser.lr={text}"]).optimiser.lr == value


def test_another_kind_of_schedule_or_optimiser_starts_from_its_own_defaults() -> None:
    config = resolve("lip-r18-os16", None, ["schedule.warmup=0.1", "schedule.name=one-cycle"])  # in any order
    assert config.schedule.model_dump() == {"name": "one-cycle", "warmup": 0.1, "start": 0.04, "end": 4e-6}
    assert resolve("lip-r18-os16", None, ["schedule=one-cycle", "schedule.warmup=0.1"]) == config
    config = resolve("lip-r18-os16", None, ["optimiser.name=adamw", "optimiser.lr=1e-3"])
    assert config.optimiser == AdamW(lr=1e-3)
    config = resolve("lip-r18-os16", None, ["augmentation=affine"])
    assert config.augmentation.parameters()["rotation_sigma"] == 30.0
    config = resolve("lip-r18-os16", "schp", ["self_correction=null", "schedule=poly"])
    assert config.self_correction is None


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: schp\nmodel: atr-r50-os16\noptimiser: {lr: 1e-2}\nschedule:\n  warmup_epochs: 5\n")
    config = resolve(str(path), None, ["epochs=120"])
    assert (config.recipe, config.model, config.epochs) == ("schp", "atr-r50-os16", 120)
    assert (config.optimiser.lr, config.batch, config.input_size) == (0.01, 48, (512, 512))
    assert config.schedule.model_dump() == {
        "name": "self-correction",
        "warmup_epochs": 5,
        "floor": 0.01,
        "restart": 0.5,
    }
    path.write_text("model: voc-r50-os8\n")
    assert resolve(str(path), None, []) == resolve("voc-r50-os8", "ssseg", [])
    assert resolve(str(path), "ce2p", []) == resolve("voc-r50-os8", "ce2p", [])


@pytest.mark.parametrize("recipe", recipe_names())
@pytest.mark.parametrize("model", ["lip-r101-os16", "voc-r50-os8", "custom-r18-os16"])
def test_what_is_saved_with_a_run_reads_back_the_same(tmp_path: Path, recipe: str, model: str) -> None:
    config = resolve(model, recipe, ["optimiser.lr=1.5e-7", "clip_norm=5", "micro_batch=2", "seed=7"])
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert resolve(str(path), None, []) == config
    assert to_yaml(resolve(str(path), None, [])) == to_yaml(config)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        resolve("lip-r18-os16", None, []).batch = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimiser.lrr=0.1"], "unknown key optimiser.lrr; expected name, lr, .*did you mean optimiser.lr?"),
        (["lr=0.1"], "unknown key lr; .*did you mean optimiser.lr?"),
        (["epoch=3"], "did you mean epochs?"),
        (["augmentation.rotation_prob=1"], "did you mean augmentation.rotation_probability?"),
        (["batch=many"], "batch is 'many', expected a valid integer"),
        (["batch=8.5"], "batch is 8.5, expected a valid integer"),
        (["batch=true"], "batch is True, expected a valid integer"),
        (["batch=1"], "batch is 1, expected greater than or equal to 2"),
        (["optimiser.lr=-1"], "optimiser.lr is -1, expected greater than 0"),
        (["optimiser.lr=.nan"], "optimiser.lr is nan, expected a finite number"),
        (["optimiser.momentum=1"], "optimiser.momentum is 1, expected less than 1"),
        (["optimiser.name=adamw"], "optimiser.lr is missing"),
        (["optimiser.name=adamw", "optimiser.lr=1", "optimiser.momentum=0.5"], "unknown key optimiser.momentum"),
        (["optimiser=0.1"], "optimiser is 0.1, expected keys with values"),
        (["schedule=poli"], "schedule.name is 'poli', expected 'poly', .*did you mean poly?"),
        (["schedule=self-correction"], "without self_correction"),
        (["self_correction.start_epoch=151"], "start_epoch is 151, expected at most epochs .150."),
        (["precision=fp8"], "precision is 'fp8', expected 'fp32', 'bf16' or 'fp16'"),
        (["family=ce2pp"], "family is 'ce2pp', expected 'ssseg'"),
        (["input_size=20"], "input_size.0 is 20, expected greater than or equal to 32"),
        (["input_size=[473]"], "input_size"),
        (["micro_batch=5"], "batch is 32, expected a multiple of micro_batch, which is 5"),
        (["augmentation.flip_probability=2"], "flip_probability is 2.0, expected a number from 0 to 1"),
        (["augmentation.scale_range=[2, 1]"], "scale_range"),
        (["augmentation.keep_ratio=1"], "augmentation.keep_ratio is 1, expected a valid boolean"),
        (["loss.edge_balance=none"], "loss.edge_balance is 'none', expected 'weights' or 'pixels'"),
        (["ema=1"], "ema is 1, expected less than 1"),
        (["seed=-1"], "seed is -1"),
        (["batch"], "'batch': expected key=value"),
        ([".lr=3"], "'.lr=3': expected key=value"),
        (["batch=[1"], "not readable as YAML"),
        (["model=lip-r34-os16"], "no model name|neither a file nor a model name"),
        (["recipe=schpp"], "recipe is 'schpp', expected one of ce2p, mce2p, schp, ssseg, tiny"),
    ],
)
def test_mistakes_get_one_line(overrides: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected.replace("?", r"\?")) as caught:
        resolve("lip-r18-os16", None, overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch: 3\n", "the key model is missing"),
        ("model: [1]\n", "the key model is"),
        ("model: lip-r18-os16\nbatch: 3\nbatch: 4\n", "batch is given twice in line 1"),
        ("model: lip-r18-os16\n  batch: 3\n", "not readable as YAML"),
        ("- 1\n", "holds no keys with values"),
        ("", "holds no keys with values"),
        ("model: lip-r18-os16\ndatasets: {}\n", "unknown key datasets"),
        ("model: lip-r18-os16\nrecipe: ce2p\n", "recipe is schp on the command line and ce2p in"),
    ],
)
def test_files_with_mistakes_are_named(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        resolve(str(path), "schp", [])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        resolve(str(tmp_path / "none.yaml"), None, [])
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file"):
        resolve(str(tmp_path / "bytes.yaml"), None, [])
