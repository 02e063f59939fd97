"""Each person's parts in one picture, from people's boxes in a COCO file.

python examples/several_people.py GLOBAL.onnx LOCAL.onnx street.jpg people.json

people.json: [{"image": "street.jpg", "bbox": [x, y, width, height], "score": 0.9}, ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

from ce2p_runtime import CE2PRuntimeError
from ce2p_runtime.media.pictures import read_picture
from ce2p_runtime.people import PeopleParser, open_instances, select_people


def main(whole: str, local: str, picture: str, boxes: str) -> None:
    """Print every person's parts and write `<picture>_people.jpg` into the working folder."""
    stem = Path(picture).stem
    frame = read_picture(Path(picture))
    people = open_instances(boxes).people(stem, (frame.shape[0], frame.shape[1]))
    if people is None:
        sys.exit(f"error: {boxes} holds nobody for {stem}, expected entries whose image is {stem}")
    with PeopleParser.open(whole, [local]) as parser:
        result = parser(frame, select_people(people))
    for part in result.part_instances:
        print(f"person {part.person}: {result.class_names[part.class_id]} ({part.score:.1f})")
    result.save_overlay(f"{stem}_people.jpg", frame)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except CE2PRuntimeError as error:
        sys.exit(f"error: {error}")
