"""From an exported ONNX file to a TensorRT engine: one path for TensorRT 10.9 to 11. Imports it when used."""

from .builder import BuiltPlan, build_plan
from .exporter import BuiltEngine, build_engine_file, default_engine_path
from .failures import EngineError
from .settings import BuildSettings

__all__ = [
    "BuildSettings",
    "BuiltEngine",
    "BuiltPlan",
    "EngineError",
    "build_engine_file",
    "build_plan",
    "default_engine_path",
]
