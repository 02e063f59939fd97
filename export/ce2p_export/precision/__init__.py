"""Precision passes on the pure ONNX graph, one file each. They come before the fused ops."""

from .calibration import ActivationStatistics, calibrate, too_large_for_half
from .groups import HIGH_PRECISION, high_precision_groups, layer_groups
from .half import give_float_io, to_half, unfit_weights
from .int8 import TARGETS, Flavour, Target, nodes_to_quantise, quantise, tensors_to_calibrate
from .low_rank import Thinned, ThinningError, thin
from .plan import Precision, PrecisionPlan, Quantisation, convert
from .ranges import METHODS, Method, activation_ranges
from .rounding import with_roundings
from .sums import chain_sums

__all__ = [
    "HIGH_PRECISION",
    "METHODS",
    "TARGETS",
    "ActivationStatistics",
    "Flavour",
    "Method",
    "Precision",
    "PrecisionPlan",
    "Quantisation",
    "Target",
    "Thinned",
    "ThinningError",
    "activation_ranges",
    "calibrate",
    "chain_sums",
    "convert",
    "give_float_io",
    "high_precision_groups",
    "layer_groups",
    "nodes_to_quantise",
    "quantise",
    "tensors_to_calibrate",
    "thin",
    "to_half",
    "too_large_for_half",
    "unfit_weights",
    "with_roundings",
]
