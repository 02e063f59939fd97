"""Run exported CE2P networks on pictures and video. Imports no torch.

from ce2p_runtime import HumanParser
"""

from .errors import BackendError, CE2PRuntimeError, MediaError, ModelFileError
from .media.png import read_labels
from .metadata import ModelMetadata
from .parser import HumanParser
from .result import ParsingResult

__all__ = [
    "BackendError",
    "CE2PRuntimeError",
    "HumanParser",
    "MediaError",
    "ModelFileError",
    "ModelMetadata",
    "ParsingResult",
    "read_labels",
]
