"""CE2P networks in PyTorch."""

from .config import BACKBONES, FAMILIES, CE2PConfig, model_names, parse_model_name
from .network import CE2P, CE2POutputs, untrained

__all__ = [
    "BACKBONES",
    "CE2P",
    "FAMILIES",
    "CE2PConfig",
    "CE2POutputs",
    "model_names",
    "parse_model_name",
    "untrained",
]
