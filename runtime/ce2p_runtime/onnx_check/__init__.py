"""What an ONNX file from anybody asks for, found out before a library that would simply do it opens the file.

`protobuf` reads the wire format, `model` the graph; `operators` (with `layer_rules` and `shape_rules`) tells how large
what each operator makes is; `survey` adds that up; `limits` refuses what no network of ours needs. Neither torch nor
any ONNX library is needed, and no weight is read.
"""

from .limits import check_graph
from .model import OnnxModel
from .survey import Survey, survey

__all__ = ["OnnxModel", "Survey", "check_graph", "survey"]
