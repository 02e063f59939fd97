"""What a machine was doing while something was measured: clocks, load, and who else took processor time.

    before = MachineState.now()
    ...
    problems = disturbances(before, MachineState.now())

Linux tells through /proc; elsewhere most of it is None, and nothing is said about what is not known.
"""

from __future__ import annotations

import dataclasses
import os
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_CLOCK_CHANGE = 0.10
MAX_OTHERS = 0.05
"""Share of the machine's processor time that others may take before it counts as noise."""
MAX_STEAL = 0.01
"""Share that the hypervisor may give to other virtual machines."""
MAX_LOAD = 0.5
"""Load average of the last minute, before we start: half a core busy. Starting us costs less."""


@dataclass(frozen=True)
class Clocks:
    """Of all cores, in MHz, as the kernel gives them. Virtual machines often show the nominal figure only."""

    lowest: float
    median: float
    highest: float


@dataclass(frozen=True)
class MachineState:
    """One moment. Times are since boot or start, in seconds, summed over all cores."""

    clocks: Clocks | None
    load: tuple[float, float, float] | None
    """Load averages over 1, 5 and 15 minutes."""
    total: float | None
    """Processor time of the whole machine, idle time included."""
    busy: float | None
    """Of it: spent running any process."""
    steal: float | None
    """Of it: wanted by this virtual machine and given to another."""
    own: float
    """Processor time of this process and the children it waited for."""

    @classmethod
    def now(cls) -> MachineState:
        """Read in about a millisecond."""
        own = os.times()
        load = os.getloadavg() if hasattr(os, "getloadavg") else None
        total, busy, steal = _processor_times(_text("/proc/stat"))
        return cls(_clocks(_text("/proc/cpuinfo")), load, total, busy, steal, own=sum(own[:4]))

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for json.dump."""
        return dataclasses.asdict(self)


def disturbances(before: MachineState, after: MachineState) -> list[str]:
    """One line for each sign that others used the machine between two moments, or that its clocks changed."""
    found = []
    if before.load is not None and before.load[0] > MAX_LOAD:
        found.append(f"the load average was {before.load[0]:.1f} at the start (more than {MAX_LOAD})")
    if before.clocks is not None and after.clocks is not None:
        change = after.clocks.median / before.clocks.median - 1
        if abs(change) > MAX_CLOCK_CHANGE:
            found.append(
                f"the cores' median clock went from {before.clocks.median:.0f} to {after.clocks.median:.0f} MHz "
                f"({change:+.0%}, more than {MAX_CLOCK_CHANGE:.0%})"
            )
    others, steal = _shares(before, after)
    if others is not None and others > MAX_OTHERS:
        found.append(f"other processes took {others:.0%} of the machine's processor time (more than {MAX_OTHERS:.0%})")
    if steal is not None and steal > MAX_STEAL:
        found.append(f"the hypervisor gave {steal:.0%} of it to other machines (more than {MAX_STEAL:.0%})")
    return found


def _shares(before: MachineState, after: MachineState) -> tuple[float | None, float | None]:
    """Of the machine's processor time between two moments: the share of other processes, and of other machines."""
    if None in (before.total, before.busy, before.steal, after.total, after.busy, after.steal):
        return None, None
    total = after.total - before.total  # type: ignore[operator]
    if total <= 0:  # sandboxes give a /proc/stat of zeros
        return None, None
    busy, steal = after.busy - before.busy, after.steal - before.steal  # type: ignore[operator]
    return max(0.0, busy - (after.own - before.own)) / total, steal / total


def _processor_times(stat: str | None) -> tuple[float | None, float | None, float | None]:
    """Seconds in total, busy and stolen, from the first line of /proc/stat (proc(5))."""
    match = re.match(r"cpu +((?:\d+ ?){8,})", stat or "")
    if match is None:
        return None, None, None
    # user nice system idle iowait irq softirq steal; guests' time is part of user and nice already.
    ticks = [int(number) for number in match[1].split()[:8]]
    per_second = os.sysconf("SC_CLK_TCK")
    idle, steal = ticks[3] + ticks[4], ticks[7]
    return sum(ticks) / per_second, (sum(ticks) - idle - steal) / per_second, steal / per_second


def _clocks(cpuinfo: str | None) -> Clocks | None:
    found = [float(number) for number in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo or "", re.MULTILINE)]
    return Clocks(min(found), statistics.median(found), max(found)) if found and min(found) > 0 else None


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None
