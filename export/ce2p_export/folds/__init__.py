"""The exact folds, one file each. `ce2p_export.deploy` applies them in order."""

from .batchnorm import fold_batchnorm
from .decoder import split_decoder
from .fusion import split_fusion
from .heads import drop_heads
from .pyramid import fold_pyramid

__all__ = ["drop_heads", "fold_batchnorm", "fold_pyramid", "split_decoder", "split_fusion"]
