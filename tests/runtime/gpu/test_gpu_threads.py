"""One parser on the stand-in GPU, used from several threads: they take turns, and nobody gets another one's labels."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.backends import open_backend
from ce2p_runtime.media.sources import SourceFrame
from ce2p_runtime.result import ParsingResult
from tests.cuda_standin import Machine, gpu_stand_in
from tests.cuda_standin.fake_networks import make_engine
from tests.runtime.handmade import SIZE, write_network

Pixels = NDArray[np.uint8]
THREADS = 8


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    return make_engine(
        write_network(folder / "n.onnx", batch="N"), folder / "n.engine", profiles=((1, 1, 1), (2, 2, 2))
    )


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (20 + n % 3, 24 + n % 2, 3), np.uint8) for n in range(12)]


@pytest.mark.parametrize("batch", [1, 2])
def test_calls_and_streams_from_many_threads_are_each_their_own(
    engine: Path, pictures: list[Pixels], batch: int
) -> None:
    with gpu_stand_in(Machine(seed=batch)), HumanParser(engine, batch=batch) as parser:
        right = [parser(picture).labels for picture in pictures]
        together = threading.Barrier(THREADS)

        def work(seed: int) -> int:
            order = np.random.default_rng(seed).permutation(len(pictures))
            frames = [pictures[number] for number in order]
            together.wait()
            if seed % 2:
                found = [parser(frame).labels for frame in frames]
            else:
                found = [result.labels for _, result in parser.parse_frames(map(as_source_frame, frames))]
            return sum(not np.array_equal(labels, right[n]) for labels, n in zip(found, order, strict=True))

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(work, range(THREADS))) == [0] * THREADS


def as_source_frame(image: Pixels) -> SourceFrame:
    return SourceFrame(image, Path("drawn"), 0)


def test_closing_meanwhile_is_one_clear_error(engine: Path, pictures: list[Pixels]) -> None:
    with gpu_stand_in():
        parser = HumanParser(engine)
        right = parser(pictures[0]).labels
        begun = threading.Barrier(4)

        def work(_: int) -> str:
            begun.wait()
            while True:
                try:
                    result: ParsingResult = parser(pictures[0])
                except BackendError as error:
                    return str(error)
                np.testing.assert_array_equal(result.labels, right)

        with ThreadPoolExecutor(3) as pool:
            ends = pool.map(work, range(3))
            begun.wait()
            parser.close()
            assert set(ends) == {"this parser is closed"}


def test_the_network_alone_takes_turns_too(engine: Path) -> None:
    batches = np.random.default_rng(0).standard_normal((6, 1, 3, *SIZE), np.float32)
    with gpu_stand_in():
        backend = open_backend(engine)
        right = [backend.run(batch)[0] for batch in batches]
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(5):
                for found, expected in zip(pool.map(backend.run, batches), right, strict=True):
                    np.testing.assert_array_equal(found[0], expected)
        backend.close()
        with pytest.raises(BackendError, match="closed"):
            backend.run(batches[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_is_refused_and_frees_nothing(engine: Path) -> None:
    code = (
        "import os, sys; import numpy as np\n"
        "from ce2p_runtime import BackendError, HumanParser\n"
        "from tests.cuda_standin import gpu_stand_in\n"
        "with gpu_stand_in():\n"
        "    parser, frame = HumanParser(sys.argv[1]), np.zeros((20, 24, 3), np.uint8)\n"
        "    before = parser(frame).labels\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        try: parser(frame)\n"
        "        except BackendError as error: print(error, file=sys.stderr, flush=True)\n"
        "        parser.close()\n"
        "        os._exit(7)  # the stand-in's own networks do not survive a fork\n"
        "    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "    assert (parser(frame).labels == before).all()\n"
        "    parser.close()\n"
        "print(status)\n"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(root / part) for part in (".", "export", "runtime"))}
    ended = subprocess.run(
        [sys.executable, "-c", code, str(engine)], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "7\n"), ended.stderr
    (line,) = ended.stderr.splitlines()
    assert "cuda:0 was opened before this process was forked" in line
    assert line.endswith("start processes with multiprocessing's spawn and open a parser in each")
