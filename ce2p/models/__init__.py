"""CE2P networks in PyTorch."""

from .config import BACKBONES, CE2PConfig, model_names, parse_model_name
from .network import CE2P, CE2POutputs, untrained

__all__ = ["BACKBONES", "CE2P", "CE2PConfig", "CE2POutputs", "model_names", "parse_model_name", "untrained"]
