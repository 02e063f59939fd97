"""Reading what TensorRT and the machine say: the inspector's JSON of both versions, missing software or devices."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ce2p_export.tensorrt import EngineError
from ce2p_export.tensorrt.layers import EngineLayer, engine_layers, silent_float32, summary
from ce2p_export.tensorrt.versions import check_version, device_architecture, load_tensorrt


def tensor_10(name: str, text: str) -> dict[str, Any]:
    return {"Name": name, "Location": "Device", "Dimensions": [1, 8, 24, 24], "Format/Datatype": text}


def tensor_11(name: str, layout: str, kind: str) -> dict[str, Any]:
    return {"Name": name, "Location": "Device", "Dimensions": [1, 8, 24, 24], "Format": layout, "Datatype": kind}


TENSORRT_10 = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to conv1",
            "LayerType": "Reformat",
            "Inputs": [tensor_10("image", "Row major linear FP32")],
            "Outputs": [tensor_10("r", "Channel major FP16 format where channel % 8 == 0")],
        },
        {
            "Name": "conv1 + relu1",
            "LayerType": "CaskGemmConvolution",
            "Inputs": [tensor_10("r", "Channel major FP16 format where channel % 8 == 0")],
            "Outputs": [tensor_10("a", "Channel major FP16 format where channel % 8 == 0")],
            "TacticName": "sm80_xmma_fprop",
        },
        {
            "Name": "up_b",
            "LayerType": "Resize",
            "Inputs": [tensor_10("f", "Row major linear FP32")],
            "Outputs": [tensor_10("g", "Row major linear FP32")],
        },
        {
            "Name": "edge",
            "LayerType": "PluginV3",
            "PluginType": "CE2PEdgeFusion",
            "Inputs": [tensor_10("a", "Row major linear FP16 format")],
            "Outputs": [tensor_10("parsing", "Row major linear FP16 format")],
        },
    ],
    "Bindings": ["image", "parsing"],
}
TENSORRT_11 = {
    "Layers": [
        {
            "Name": "__myl_Cast",
            "LayerType": "Reformat",
            "Inputs": [tensor_11("image", "Linear", "Float")],
            "Outputs": [tensor_11("r", "HWC8", "Half")],
        },
        {
            "Name": "conv1",
            "LayerType": "gemm",
            "Inputs": [tensor_11("r", "HWC8", "Half")],
            "Outputs": [tensor_11("a", "HWC8", "Half")],
        },
        {
            "Name": "up_b",
            "LayerType": "kgen",
            "Inputs": [tensor_11("f", "Linear", "Float")],
            "Outputs": [tensor_11("g", "Linear", "Float")],
        },
        {
            "Name": "CE2PEdgeFusion",
            "LayerType": "PluginV3",
            "Inputs": [tensor_11("a", "Linear", "Half")],
            "Outputs": [tensor_11("parsing", "Linear", "Half")],
        },
    ],
    "I/O Tensors": ["image", "parsing"],
}


@pytest.mark.parametrize("document", [TENSORRT_10, TENSORRT_11], ids=["TensorRT 10", "TensorRT 11"])
def test_the_inspectors_report_of_either_version(document: dict[str, Any]) -> None:
    layers = engine_layers(json.dumps(document))
    assert [(layer.inputs, layer.outputs) for layer in layers] == [
        (("fp32",), ("fp16",)),
        (("fp16",), ("fp16",)),
        (("fp32",), ("fp32",)),
        (("fp16",), ("fp16",)),
    ]
    assert [layer.plugin for layer in layers] == ["", "", "", "CE2PEdgeFusion"]
    # The resize computes in float32 unasked; the reformat only reads it.
    assert silent_float32(layers, "fp16") == ("up_b",)
    assert silent_float32(layers, "fp32") == ()
    assert summary(layers)["outputs"] == {"fp16": 3, "fp32": 1}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Row major linear UINT8 format (kLINEAR)", "uint8"),
        ("Row major Int8 format", "int8"),
        ("BFloat16", "bf16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("FP8", "fp8"),
        ("Int64", "int64"),
        ("Bool", "bool"),
        ("Unheard", "?"),
    ],
)
def test_types_by_any_name(text: str, kind: str) -> None:
    layer = {"Name": "x", "LayerType": "kgen", "Inputs": [], "Outputs": [tensor_10("y", text)]}
    assert engine_layers(json.dumps({"Layers": [layer]}))[0].outputs == (kind,)


def test_a_report_of_names_only_and_one_of_nothing() -> None:
    assert engine_layers('{"Layers": ["conv1", "CE2PLabelMap"]}') == (
        EngineLayer("conv1", "", (), (), ""),
        EngineLayer("CE2PLabelMap", "", (), (), "CE2PLabelMap"),
    )
    for text in ("", "{}", "[]", '{"Layers": [3]}'):
        with pytest.raises(EngineError, match="not readable"):
            engine_layers(text)


def test_tensorrt_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r'not installed; pip install "\.\[tensorrt\]"'):
        load_tensorrt()


def test_tensorrt_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "tensorrt":
                raise ImportError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(EngineError, match=r"does not load \(libnvinfer.so.11.*--force-reinstall"):
        load_tensorrt()


def test_tensorrt_is_too_old_or_an_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("10.9.0.34", "10.16.1.11", "11.0.0.114", "12.1"):
        check_version(version)
    for version in ("8.6.1", "10.8.0.43", "9.99"):
        with pytest.raises(EngineError, match=f"TensorRT {version} is too old, expected 10.9"):
            check_version(version)
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    with pytest.raises(EngineError, match="states version 'none'"):
        load_tensorrt()


class Status(SimpleNamespace):
    """A CUresult: equal by name."""


OK, MISSING = Status(name="CUDA_SUCCESS"), Status(name="CUDA_ERROR_NO_DEVICE")


def fake_driver(monkeypatch: pytest.MonkeyPatch, *, init: Any = OK, devices: int = 1, capability: str = "90") -> None:
    """A cuda.bindings.driver with so many GPUs."""

    def start(flags: int) -> tuple[Status]:
        if isinstance(init, Exception):
            raise init
        return (init,)

    module = ModuleType("cuda.bindings.driver")
    vars(module).update(
        CUresult=SimpleNamespace(CUDA_SUCCESS=OK),
        CUdevice_attribute=SimpleNamespace(
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=0, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=1
        ),
        cuInit=start,
        cuDeviceGet=lambda index: (OK if index < devices else MISSING, index),
        cuDeviceGetAttribute=lambda which, device: (OK, int(capability[:-1] if which == 0 else capability[-1])),
    )
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", module)


def test_the_architecture_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(monkeypatch, capability="90")
    assert device_architecture() == "sm_90"
    fake_driver(monkeypatch, capability="120")
    assert device_architecture() == "sm_120"


@pytest.mark.parametrize(
    ("machine", "line"),
    [
        ({"init": RuntimeError("libcuda.so.1 not found\nmore")}, r"no NVIDIA driver on this machine \(libcuda.so.1"),
        ({"init": MISSING}, r"no usable NVIDIA GPU \(CUDA_ERROR_NO_DEVICE\)"),
        ({"devices": 0}, r"no NVIDIA GPU number 0"),
        ({"capability": "61"}, r"compute capability 6.1; building an engine needs .* 7.5"),
    ],
)
def test_no_usable_gpu(monkeypatch: pytest.MonkeyPatch, machine: dict[str, Any], line: str) -> None:
    fake_driver(monkeypatch, **machine)
    with pytest.raises(EngineError, match=line) as caught:
        device_architecture()
    assert "\n" not in str(caught.value)


def test_no_cuda_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    with pytest.raises(EngineError, match=r"cuda-bindings does not import.*\.\[tensorrt\]"):
        device_architecture()
