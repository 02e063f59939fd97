"""sssegmentation's CE2P in its current form, the network of the result tables that we keep: ssseg/modules/models/."""

from dataclasses import replace

from .ssseg_2020 import SSSEG_2020, ssseg_rules

SSSEG = replace(
    SSSEG_2020,
    name="ssseg",
    wiring=replace(SSSEG_2020.wiring, lateral=False, fusion_layers=2, decoder_width=512),
    title="sssegmentation",
    signature=("ppm_net.bottleneck.0.weight", "decoder_stage2.7.weight"),
    rules=ssseg_rules(bottleneck="bottleneck", classifier=7),
    strides=(8, 16),
)
