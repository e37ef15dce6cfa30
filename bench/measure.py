"""CPU time and memory of a server with all of its processes. Linux only: it reads /proc.

https://docs.kernel.org/filesystems/proc.html
"""

from __future__ import annotations

import os
import time
from pathlib import Path

PROCESS_CPU_CLOCK = 2


def parent(stat: Path) -> int:
    """The parent's id from /proc/PID/stat, 0 if the process is gone. The name before it may itself hold brackets."""
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {int(stat.parent.name): parent(stat) for stat in Path("/proc").glob("[0-9]*/stat")}
    found = [pid]
    for ancestor in found:
        found.extend(child for child, its_parent in parents.items() if its_parent == ancestor)
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a server so far, of ended threads too.

    It is the sum of `utime` and `stime` of /proc/PID/stat, which come in steps of 10 ms, to the nanosecond: the CPU
    clock of another process has the id that clock_getcpuclockid(3) makes of the process's.
    """
    return sum(time.clock_gettime((~process << 3) | PROCESS_CPU_CLOCK) for process in tree(pid))


def resident_bytes(pid: int) -> int:
    """Memory of a server that is in RAM, pages it shares with others included."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{process}/statm").read_text().split()[1]) * page for process in tree(pid))
