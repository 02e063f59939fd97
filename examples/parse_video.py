"""A video to a video: an overlay with the original's times and sound, and on the way a figure for every frame.

python examples/parse_video.py MODEL.onnx walk.mp4 out/

The command `ce2p parse` does the same; take this where you want something of your own for each frame.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ce2p_runtime import CE2PRuntimeError, HumanParser
from ce2p_runtime.media.sinks import open_sink
from ce2p_runtime.media.sources import open_source


def main(model: str, video: str, folder: str) -> None:
    """Write `<video>_overlay.mp4` and the lossless `<video>_labels.mkv` into `folder`."""
    with HumanParser(model) as parser, open_source(Path(video)) as source:
        with open_sink(Path(folder), source, frozenset({"overlay", "labels"})) as sink:
            for frame, result in parser.parse_frames(source):
                sink.write(frame, result)
                person = int(result.mask().sum())
                print(f"{result.time:8.3f} s  {person / result.labels.size:6.1%} of the frame is a person")
        source.raise_problem()  # frames that were lost, now that the others are safe


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except CE2PRuntimeError as error:
        sys.exit(f"error: {error}")
