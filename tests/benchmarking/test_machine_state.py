"""Signs that the machine was not ours alone, on made-up states and files."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ce2p.benchmarking import machine_state
from ce2p.benchmarking.machine_state import Clocks, MachineState, disturbances

QUIET = MachineState(Clocks(2000.0, 2500.0, 2600.0), (0.1, 0.2, 0.3), 1000.0, 100.0, 5.0, own=50.0)
LATER = dataclasses.replace(QUIET, total=1200.0, busy=260.0, own=205.0)
"""Of 200 seconds 160 were busy, 155 of them ours."""

STAT = "cpu  100 20 30 400 50 6 7 87 11 0\ncpu0 50 10 15 200 25 3 3 43 5 0\nintr 1\n"
CPUINFO = "processor : 0\ncpu MHz\t\t: 2000.5\nprocessor : 1\ncpu MHz\t\t: 3000.0\nprocessor : 2\ncpu MHz\t\t: 2500.0\n"


def test_a_quiet_machine_is_not_disturbed() -> None:
    assert disturbances(QUIET, LATER) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"load": (1.7, 0.2, 0.1)}, {}, "load average was 1.7"),
        ({}, {"clocks": Clocks(1000.0, 2000.0, 2600.0)}, "from 2500 to 2000 MHz (-20%"),
        ({}, {"busy": 290.0}, "other processes took 18%"),
        ({}, {"steal": 25.0}, "hypervisor gave 10%"),
    ],
)
def test_each_disturbance_is_named(before: dict[str, object], after: dict[str, object], said: str) -> None:
    found = disturbances(dataclasses.replace(QUIET, **before), dataclasses.replace(LATER, **after))  # type: ignore[arg-type]
    assert len(found) == 1
    assert said in found[0]


def test_nothing_is_said_about_what_is_not_known() -> None:
    unknown = MachineState(None, None, None, None, None, own=0.0)
    assert disturbances(unknown, unknown) == []
    zeros = dataclasses.replace(unknown, total=0.0, busy=0.0, steal=0.0)  # as sandboxes have it
    assert disturbances(zeros, zeros) == []


def test_states_are_read_from_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/stat": STAT, "/proc/cpuinfo": CPUINFO}
    monkeypatch.setattr(machine_state, "_text", files.get)
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    now = MachineState.now()
    assert now.clocks == Clocks(2000.5, 2500.0, 3000.0)
    # user 100, nice 20, system 30, irq 6, softirq 7; idle 400, iowait 50, steal 87: guests are part of user
    assert (now.total, now.busy, now.steal) == (7.0, 1.63, 0.87)
    json.dumps(now.to_dict())
    monkeypatch.setattr(machine_state, "_text", {}.get)
    elsewhere = MachineState.now()
    assert (elsewhere.clocks, elsewhere.total, elsewhere.busy, elsewhere.steal) == (None, None, None, None)
