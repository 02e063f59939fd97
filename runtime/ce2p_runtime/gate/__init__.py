"""The gate: the one definition of "this fast file is as good as the model it came from". Imports no torch.

A reference and a candidate parse the same pictures, the candidate on the backend that will serve it, and their label
maps are compared at the pictures' own size:

    reference = Reference.of(HumanParser("lip_fp32.onnx"), pictures)
    report = judge(reference, HumanParser("lip_int8.onnx", backend="openvino"))
    report.require()                       # GateError, one line, unless report.passed
    report.paint_worst("worst.png")        # input | reference | candidate | difference
"""

from .agreement import PictureFigures, band_radius, boundary_band, compare
from .report import Check, GateError, GateReport
from .run import GatePicture, Reference, judge
from .thresholds import THRESHOLDS, Thresholds, thresholds_for

__all__ = [
    "THRESHOLDS",
    "Check",
    "GateError",
    "GatePicture",
    "GateReport",
    "PictureFigures",
    "Reference",
    "Thresholds",
    "band_radius",
    "boundary_band",
    "compare",
    "judge",
    "thresholds_for",
]
