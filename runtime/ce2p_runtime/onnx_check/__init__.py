"""What an ONNX file from anybody asks for, found out before a library that would simply do it opens the file.

`protobuf` knows the wire format, `reading` makes a `model` of a file; `operators`, `layer_rules` and `shape_rules` tell
how large what each operator makes is; `survey` adds that up; `limits` refuses what no network of ours needs. Neither
torch nor any ONNX library is needed, and no weight is read.
"""

from .limits import check_graph
from .model import OnnxModel
from .reading import read_model
from .survey import Survey, survey

__all__ = ["OnnxModel", "Survey", "check_graph", "read_model", "survey"]
