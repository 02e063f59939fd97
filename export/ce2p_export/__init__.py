"""Turn CE2P networks into proven ONNX files."""

from .deploy import Deployed, FoldReport, deploy
from .judging import GateSettings
from .onnx_graph import GraphOptions, export_plain
from .precision.converters import Quantisation
from .proof_pictures import ProofError
from .source import SourceModel, open_model
from .steps import Exported, default_path, export_onnx

__all__ = [
    "Deployed",
    "Exported",
    "FoldReport",
    "GateSettings",
    "GraphOptions",
    "ProofError",
    "Quantisation",
    "SourceModel",
    "default_path",
    "deploy",
    "export_onnx",
    "export_plain",
    "open_model",
]
