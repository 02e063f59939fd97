"""Run exported CE2P networks on pictures and video. Imports no torch.

from ce2p_runtime import HumanParser

What needs OpenCV is imported when it is asked for, so that `ce2p --help` and the like need not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import BackendError, CE2PError, CE2PRuntimeError, ConfigError, MediaError, ModelFileError

if TYPE_CHECKING:
    from .media.png import read_labels
    from .model_files.metadata import ModelMetadata
    from .parser import HumanParser
    from .result import ParsingResult

__all__ = [
    "BackendError",
    "CE2PError",
    "CE2PRuntimeError",
    "ConfigError",
    "HumanParser",
    "MediaError",
    "ModelFileError",
    "ModelMetadata",
    "ParsingResult",
    "read_labels",
]

_MODULES = {
    "HumanParser": "parser",
    "ModelMetadata": "model_files.metadata",
    "ParsingResult": "result",
    "read_labels": "media.png",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value
