"""What TensorRT refuses is refused in one line that names the file, the place, the reason and the cure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from ce2p.models import CE2P
from ce2p_export import GraphOptions
from ce2p_export.tensorrt import BuildSettings, EngineError, build_plan
from ce2p_export.tensorrt.failures import build_failure, readable
from ce2p_export.tensorrt.messages import Messages, Watch, collecting
from ce2p_export.tensorrt.preparation import metadata_of
from ce2p_runtime.backends.tensorrt import _Loaded
from ce2p_runtime.backends.tensorrt_log import process_log
from ce2p_runtime.errors import BackendError
from tests.export.engine.graphs import quantised, written
from tests.trt_on_cpu import Found

Tiny = Callable[..., CE2P]
BODIES = BuildSettings(plugins=False)


def refusal(trt: ModuleType, path: Path, settings: BuildSettings = BODIES) -> str:
    with pytest.raises(EngineError) as caught:
        build_plan(trt, path, settings)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_file_that_was_cut_off(trt: ModuleType, tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(tiny_model.read_bytes()[:-1000])
    assert "not a readable ONNX file" in refusal(trt, path)
    path.write_bytes(b"")
    assert "holds no graph" in refusal(trt, path)
    assert "no such file" in refusal(trt, tmp_path / "none.onnx")


def test_a_file_without_our_metadata(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="carries no ce2p metadata"):
        metadata_of(onnx.ModelProto(), tmp_path / "x.onnx")


def test_an_operator_tensorrt_does_not_know(trt: ModuleType, tmp_path: Path) -> None:
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    node = onnx.helper.make_node("Det", ["image"], ["parsing"], "volume")
    out = onnx.helper.make_tensor_value_info("parsing", onnx.TensorProto.FLOAT, [1, 3])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "x", [image], [out]),
        opset_imports=[onnx.helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(model, str(tmp_path / "x.onnx"))
    assert "at node volume (Det)" in refusal(trt, tmp_path / "x.onnx")


def test_unsigned_activations(trt: ModuleType, tiny_model: Path, tmp_path: Path) -> None:
    path = quantised(tiny_model, tmp_path / "uint8.onnx", symmetric=False)
    assert "symmetric int8 only" in refusal(trt, path)


def test_too_little_scratch_memory(tensorrt_found: Found, trt: ModuleType, tiny_model: Path) -> None:
    if not tensorrt_found.stand_in:
        pytest.skip("with a GPU TensorRT finds kernels that need next to none")
    message = refusal(trt, tiny_model, BuildSettings(plugins=False, workspace_gib=1e-4))
    assert "OutOfMemory" in message
    assert message.endswith("allow more with --workspace GIB")


def test_a_batch_the_file_does_not_have(trt: ModuleType, tiny: Tiny, tiny_model: Path, tmp_path: Path) -> None:
    message = refusal(trt, tiny_model, BuildSettings(plugins=False, batches=(1, 4)))
    assert "holds batch 1, asked for 1,4" in message
    dynamic = written(tiny("schp"), GraphOptions((97, 97), None), tmp_path / "x.onnx")
    assert "its batch is dynamic" in refusal(trt, dynamic)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("batches", ()), ("batches", (0, 4)), ("workspace_gib", 0.0), ("workspace_gib", -1.0), ("optimization_level", 6)],
)
def test_settings_that_make_no_sense(setting: str, value: object) -> None:
    with pytest.raises(EngineError, match="expected"):
        BuildSettings(**{setting: value})  # type: ignore[arg-type]


def test_progress_is_told_and_can_stop_the_build(trt: ModuleType, tiny_model: Path) -> None:
    told: list[tuple[str, int, int]] = []
    build_plan(trt, tiny_model, BODIES, progress=lambda *step: told.append(step) is None)
    assert len(told) > 10
    assert all(0 <= done <= total for _, done, total in told)
    finished = {phase for phase, done, total in told if done == total}
    assert finished == {phase for phase, _, _ in told}
    with pytest.raises(EngineError, match="the build was stopped"):
        build_plan(trt, tiny_model, BODIES, progress=lambda phase, done, total: done < 1)


def test_an_interrupt_during_a_build_arrives(trt: ModuleType, tiny_model: Path) -> None:
    def interrupted(phase: str, done: int, total: int) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(trt, tiny_model, BODIES, progress=interrupted)


def test_progress_from_many_threads() -> None:
    counted: dict[str, int] = {}
    watch = Watch(lambda phase, done, total: counted.update({phase: max(done, counted.get(phase, 0))}) is None)

    def work(phase: str) -> None:
        watch.start(phase, 500)
        for step in range(500):
            assert watch.step(phase, step + 1)
        watch.finish(phase)

    threads = [threading.Thread(target=work, args=(f"phase {index}",)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == {f"phase {index}": 500 for index in range(8)}
    assert not watch.cancelled


def test_messages_are_kept_once_and_in_order() -> None:
    messages = Messages()
    for text in ("first", "second", "first"):
        messages.add(40, text)
    messages.add(30, "careful")
    messages.add(20, "by the way")
    assert messages.errors == ("first", "second")
    assert messages.warnings == ("careful",)


def test_a_message_loses_its_places_in_the_source() -> None:
    text = "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (no device In f at /_src/a/b.cpp:25)"
    assert readable(text) == "Error Code 1: Cuda Runtime (no device)"
    assert "another library" in build_failure(Path("x.onnx"), ())


def test_building_and_loading_in_one_process_share_a_logger(trt: ModuleType, tmp_path: Path) -> None:
    """TensorRT itself, which warns about a second logger while objects made with the first live."""
    alive = []
    with collecting() as everything:
        for _ in range(2):
            with collecting() as messages:
                builder = trt.Builder(process_log(trt))
                network = builder.create_network(0)
                assert builder.build_serialized_network(network, builder.create_builder_config()) is None
            assert "at least one output" in messages.errors[0]
            loaded = _Loaded(trt, tmp_path / "x.engine", b"not a plan" * 100, False)
            # Its own complaint, not the builder's, which came in the same thread.
            with pytest.raises(BackendError, match=r"can load; build it again \(TensorRT: .*deserialize"):
                loaded.open()
            alive += [builder, loaded]
    assert not [text for text in everything.warnings if "logger" in text]
