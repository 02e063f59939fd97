"""The judge: the one definition of "this fast file is as good as the model it came from". Imports no torch.

It has two metrics, with limits by precision (`ce2p_runtime.precisions`). `judge_logits` compares numbers, input by
input; an export calls that its proof. `judge_labels` compares label maps at the pictures' own size, on the backend that
will serve the file; that is called the gate:

    reference = Reference.of(HumanParser("lip_fp32.onnx"), pictures)
    report = judge_labels(reference, HumanParser("lip_int8.onnx", backend="openvino"))
    report.require()                       # GateError, one line, unless report.passed
    report.paint_worst("worst.png")        # input | reference | candidate | difference
"""

from .allowance import Check
from .label_maps import GatePicture, Reference, judge_labels
from .logits import LogitPicture, Proof, ProofRow, judge_logits
from .outcome import GateOutcome
from .report import GateError, GateReport

__all__ = [
    "Check",
    "GateError",
    "GateOutcome",
    "GatePicture",
    "GateReport",
    "LogitPicture",
    "Proof",
    "ProofRow",
    "Reference",
    "judge_labels",
    "judge_logits",
]
