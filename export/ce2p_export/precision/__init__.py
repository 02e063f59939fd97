"""Precision passes on the pure ONNX graph, one file each. They come before the fused ops."""

from .calibration import ActivationStatistics, calibrate, too_large_for_half
from .converters import CONVERTERS, PrecisionPlan, Quantisation, convert
from .groups import HIGH_PRECISION, high_precision_groups, layer_groups
from .half import give_float_io, to_half, unfit_weights
from .int8 import FLAVOURS, Flavour, nodes_to_quantise, quantise, tensors_to_calibrate
from .low_rank import Factorised, LowRankError, factorise
from .ranges import METHODS, activation_ranges
from .rounding import with_roundings
from .sums import chain_sums

__all__ = [
    "CONVERTERS",
    "FLAVOURS",
    "HIGH_PRECISION",
    "METHODS",
    "ActivationStatistics",
    "Factorised",
    "Flavour",
    "LowRankError",
    "PrecisionPlan",
    "Quantisation",
    "activation_ranges",
    "calibrate",
    "chain_sums",
    "convert",
    "factorise",
    "give_float_io",
    "high_precision_groups",
    "layer_groups",
    "nodes_to_quantise",
    "quantise",
    "tensors_to_calibrate",
    "to_half",
    "too_large_for_half",
    "unfit_weights",
    "with_roundings",
]
