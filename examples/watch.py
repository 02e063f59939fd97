"""A camera, a stream or a pipe as it comes: the share of each frame that is a person, and an account of every frame.

python examples/watch.py MODEL.onnx 0
python examples/watch.py MODEL.onnx rtsp://camera.local/live
ffmpeg -i anything.mov -f matroska - | python examples/watch.py MODEL.onnx -
"""

from __future__ import annotations

import sys

from ce2p_runtime import CE2PError, HumanParser
from ce2p_runtime.media.video_pipeline import VideoPipeline


def main(model: str, source: str) -> None:
    """Print a line for each frame that is parsed, until the source ends or Ctrl-C is pressed."""
    with HumanParser(model) as parser:
        pipeline = VideoPipeline(source, parser)
        try:
            with pipeline:
                for _, result in pipeline:
                    print(f"{result.time:8.3f} s  {result.mask().mean():6.1%} of the frame is a person")
        except KeyboardInterrupt:
            pass  # how a source without an end ends
        finally:
            print(pipeline.counts)
        pipeline.source.raise_problem()  # a source that was lost, now that all is said


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except CE2PError as error:
        sys.exit(f"error: {error}")
