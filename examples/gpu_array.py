"""Frames that are on the GPU already, labels that stay there: nothing is copied to the host but the figures printed.

python examples/gpu_array.py MODEL.onnx 8

Wants an NVIDIA GPU and PyTorch, which stands here for whoever makes your frames; any array with DLPack will do.
"""

from __future__ import annotations

import sys

from ce2p_runtime import CE2PRuntimeError, HumanParser


def main(model: str, count: int) -> None:
    """Parse `count` random frames of 1080p and print the share of background in each."""
    with HumanParser(model, device="cuda") as parser:  # fails where there is no GPU, rather than falling back
        import torch

        frames = torch.randint(0, 256, (count, 1080, 1920, 3), dtype=torch.uint8, device="cuda")
        for index, frame in enumerate(frames):
            labels = torch.from_dlpack(parser.parse_device(frame))  # uint8 [H, W], on the GPU
            print(f"frame {index}: {(labels == 0).float().mean().item():.1%} background")


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdigit():
        sys.exit(__doc__)
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except CE2PRuntimeError as error:
        sys.exit(f"error: {error}")
