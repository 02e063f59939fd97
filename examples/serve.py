"""A service in a plain loop: one picture's name per line comes in, one line of JSON per picture goes out, in order.

ls photos/*.jpg | python examples/serve.py MODEL.onnx

One parser serves all threads. Replace standard input by your queue or web framework; the rest stays.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from ce2p_runtime import CE2PRuntimeError, HumanParser, MediaError

AT_ONCE = 4
"""Pictures under way: enough to read the next while one is parsed, few enough to bound the memory."""


def answer(parser: HumanParser, name: str) -> str:
    """One line of JSON: the pixels of each class, or what is wrong with this picture. Others are not affected."""
    try:
        return json.dumps({"picture": name, "pixels": parser(name).present()})
    except MediaError as error:
        return json.dumps({"picture": name, "error": str(error)})


def main(model: str) -> None:
    """Serve until standard input ends."""
    with HumanParser(model) as parser, ThreadPoolExecutor(AT_ONCE) as pool:
        under_way: deque[Future[str]] = deque()
        for line in sys.stdin:
            under_way.append(pool.submit(answer, parser, line.rstrip("\n")))
            if len(under_way) == AT_ONCE:
                print(under_way.popleft().result(), flush=True)
        while under_way:
            print(under_way.popleft().result(), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except CE2PRuntimeError as error:
        sys.exit(f"error: {error}")
