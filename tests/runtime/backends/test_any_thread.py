"""A parser is right from any thread, through asyncio and in forked children; closing it meanwhile is harmless."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.backends import BACKENDS, open_backend
from ce2p_runtime.backends.averaging import AveragedBackend
from ce2p_runtime.people import PeopleParser, Person
from tests.runtime.handmade import write_network

Pixels = NDArray[np.uint8]
THREADS, EACH, PICTURES = 8, 500, 64


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "handmade.onnx", batch="N")


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    """Of 16 sizes, no two alike."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (24 + n % 4, 30 + n % 16, 3), np.uint8) for n in range(PICTURES)]


@pytest.fixture(autouse=True)
def _many_switches() -> Iterator[None]:
    """Threads take turns ten times as often as usual; a hundred times would bring slow machines to a standstill."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-4)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(params=BACKENDS)
def parser(request: pytest.FixtureRequest, network: Path) -> Iterator[HumanParser]:
    with HumanParser(network, backend=request.param, device="cpu") as opened:
        yield opened


def expected(parser: HumanParser, pictures: list[Pixels]) -> list[bytes]:
    """Labels, one picture after the other: those of no two pictures are the same."""
    labels = [parser(picture).labels.tobytes() for picture in pictures]
    assert len(set(labels)) == len(pictures)
    return labels


def drive(parser: HumanParser, pictures: list[Pixels], right: list[bytes]) -> tuple[int, list[str]]:
    """Every thread in an order of its own; how many results were another picture's, and what was raised."""
    together = threading.Barrier(THREADS)

    def work(seed: int) -> tuple[int, list[str]]:
        wrong, errors = 0, []
        together.wait()
        for number in np.random.default_rng(seed).integers(0, len(pictures), EACH):
            try:
                wrong += parser(pictures[number]).labels.tobytes() != right[number]
            except Exception as error:
                errors.append(repr(error))
        return wrong, errors

    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(work, range(THREADS)))
    return sum(wrong for wrong, _ in done), [error for _, errors in done for error in errors]


def test_eight_threads_get_the_labels_of_their_own_pictures(parser: HumanParser, pictures: list[Pixels]) -> None:
    wrong, errors = drive(parser, pictures, expected(parser, pictures))
    assert (wrong, len(errors), errors[:1]) == (0, 0, [])


def test_streams_in_several_threads_are_each_their_own(
    parser: HumanParser, pictures: list[Pixels], tmp_path: Path
) -> None:
    for number, picture in enumerate(pictures[:12]):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), picture)
    right = expected(parser, pictures[:12])
    with ThreadPoolExecutor(THREADS) as pool:
        runs = list(pool.map(lambda _: [r.labels.tobytes() for r in parser.stream(tmp_path)], range(THREADS)))
    assert runs == [right] * THREADS


def test_asyncio_gathers_sixteen_pictures(parser: HumanParser, pictures: list[Pixels]) -> None:
    async def together() -> list[bytes]:
        results = await asyncio.gather(*(asyncio.to_thread(parser, picture) for picture in pictures[:16]))
        return [result.labels.tobytes() for result in results]

    right = expected(parser, pictures)[:16]
    for _ in range(5):
        assert asyncio.run(together()) == right


def test_averaged_networks_are_right_from_any_thread(network: Path, pictures: list[Pixels]) -> None:
    for name in BACKENDS:
        with HumanParser.on(AveragedBackend(open_backend(network, name, "cpu")), name="mirrored") as parser:
            right = expected(parser, pictures)
            with ThreadPoolExecutor(THREADS) as pool:
                assert [result.labels.tobytes() for result in pool.map(parser, pictures)] == right


def test_several_people_are_parsed_right_from_any_thread(network: Path) -> None:
    draw = np.random.default_rng(1)
    frames = [draw.integers(0, 256, (60 + n, 70, 3), np.uint8) for n in range(12)]
    people = [Person((5.0, 5.0, 40.0, 50.0), None, 1.0), Person((30.0, 10.0, 70.0, 60.0), None, 0.5)]

    def parts(frame: Pixels) -> bytes:
        result = parser(frame, people)
        return result.labels.tobytes() + result.humans.tobytes()

    for name in BACKENDS:
        with PeopleParser(open_backend(network, name, "cpu"), [open_backend(network, name, "cpu")]) as parser:
            right = [parts(frame) for frame in frames]
            with ThreadPoolExecutor(THREADS) as pool:
                assert list(pool.map(parts, frames)) == right


def test_closing_meanwhile_ends_with_one_clear_line(parser: HumanParser, pictures: list[Pixels]) -> None:
    right = expected(parser, pictures)[0]
    begun = threading.Barrier(THREADS + 1)

    def work(_: int) -> str:
        begun.wait()
        while True:
            try:
                assert parser(pictures[0]).labels.tobytes() == right
            except BackendError as error:
                return str(error)

    with ThreadPoolExecutor(THREADS) as pool:
        ends = pool.map(work, range(THREADS))
        begun.wait()
        parser.close()
        (text,) = set(ends)
    assert text.startswith(str(parser.model))
    assert text.endswith("is closed; open it again")
    parser.close()


FORK = """
import os, sys
import numpy as np
from ce2p_runtime import HumanParser
parser = HumanParser(sys.argv[1], backend=sys.argv[2], device="cpu", threads=int(sys.argv[3]))
frame = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
right = parser(frame).labels
child = os.fork()
if child == 0:
    assert all((parser(frame).labels == right).all() for _ in range(5))
    if sys.argv[4] == "close":
        parser.close()
        del parser
    sys.exit(7)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert (parser(frame).labels == right).all()
parser.close()
print(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("end", ["close", "leave"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forked_child_parses_with_its_parents_parser_and_ends(network: Path, backend: str, end: str) -> None:
    """Ending is what threads that a fork does not copy are waited for at."""
    command = [sys.executable, "-c", FORK, str(network), backend, "4", end]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (ended.returncode, ended.stdout) == (0, "7\n"), ended.stderr


INTERRUPTED = """
import sys
import numpy as np
from ce2p_runtime import HumanParser
with HumanParser(sys.argv[1], backend=sys.argv[2], device="cpu") as parser:
    frame = np.zeros((50, 40, 3), np.uint8)
    try:
        print("running", flush=True)
        while True:
            parser(frame)
    except KeyboardInterrupt:
        print(parser(frame).labels.shape)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupt_comes_through_and_leaves_the_parser_usable(network: Path, backend: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(network), backend]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=300)
    assert (process.returncode, out) == (0, "(50, 40)\n"), error


@pytest.mark.parametrize("name", BACKENDS)
def test_what_a_library_says_while_running_is_one_line_with_the_file(network: Path, name: str) -> None:
    backend = open_backend(network, name, "cpu")
    with pytest.raises(BackendError) as caught:
        backend.run(np.zeros((1, 3, 5, 7), np.float32))
    assert str(caught.value).startswith(f"{network}: ")
    assert "\n" not in str(caught.value)
    assert len(backend.run(np.zeros((1, 3, 32, 48), np.float32))) == 1
    backend.close()


# The threads meet twice: to make the core, where they are switched between all the time, and to open the parsers, where
# that would bring them to a standstill (on a slow machine a thread is asked to let go before it has run a single line).
OPENED = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from ce2p_runtime import HumanParser
from ce2p_runtime.backends.openvino import openvino_core
sys.setswitchinterval(1e-5)
together = threading.Barrier(8)
def work(_):
    together.wait()
    core = id(openvino_core())
    together.wait()
    sys.setswitchinterval(5e-3)
    with HumanParser(sys.argv[1], backend=sys.argv[2], device="cpu", threads=1) as parser:
        return parser(np.zeros((50, 40, 3), np.uint8)).labels.tobytes(), core
with ThreadPoolExecutor(8) as pool:
    labels, cores = map(set, zip(*pool.map(work, range(8))))
print(len(labels), len(cores))
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_parsers_may_be_opened_in_several_threads_at_once(network: Path, backend: str) -> None:
    """The first ones of a process, which import the library; OpenVINO's core must stay a single one."""
    command = [sys.executable, "-c", OPENED, str(network), backend]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (ended.returncode, ended.stdout) == (0, "1 1\n"), ended.stderr
