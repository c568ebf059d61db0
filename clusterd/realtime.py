"""Scheduling and memory: SCHED_RR, mlockall, garbage collection.

A cluster daemon that is not scheduled, or that waits for a page, is expelled by its peers. Each step is taken when
the kernel permits and said in one plain line when it does not; none is a reason not to run.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource

from transport.core import Log

# ONFAULT: a thread stack of 8 MiB is locked page by page as it is touched, not populated at once.
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
RR_PRIORITY = 50
"""Above ordinary real-time work, below the kernel's watchdog and migration threads (99)."""
_WORKING_SET = 512 << 20


def schedule_realtime(log: Log) -> bool:
    """Ask for SCHED_RR for this thread; children and later threads do not inherit it. True if granted."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(RR_PRIORITY))
    except OSError as error:
        log.info(
            f"real-time scheduling not permitted ({error.strerror}): under CPU load other programs may delay "
            "this one; grant CAP_SYS_NICE or LimitRTPRIO"
        )
        return False
    log.info(f"scheduled as SCHED_RR, priority {RR_PRIORITY}")
    return True


def lock_memory(log: Log) -> bool:
    """mlockall, unless a memory limit would make a later allocation fail.

    With MCL_FUTURE every allocation above RLIMIT_MEMLOCK fails, in the middle of anything. So memory is locked only
    when there is no limit or one far above what the daemon can come to use (mlockall(2), NOTES).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    privileged = _has_capability(14)  # CAP_IPC_LOCK: the limit does not apply
    if not privileged:
        if hard == resource.RLIM_INFINITY or hard >= 8 * _WORKING_SET:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
        else:
            log.info(
                f"memory not locked: the limit is {soft >> 10} KiB, and an allocation beyond it would fail; "
                "grant CAP_IPC_LOCK or LimitMEMLOCK=infinity"
            )
            return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        log.info(f"memory not locked: {os.strerror(ctypes.get_errno())}")
        return False
    log.info("memory locked")
    return True


def _has_capability(bit: int) -> bool:
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123  a proc file, read once
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> bit & 1)
    return False


def freeze_garbage() -> None:
    """Move all that exists now out of the collector's sight; called once, after start.

    A generation-2 pass over a large heap stops the loop for tens of milliseconds. What is frozen here lives as
    long as the process; what comes later is mostly freed by reference counts.
    """
    gc.collect()
    gc.freeze()
    # A pass over the two young generations costs about 0.3 ms per thousand objects: with these, at most some 10 ms,
    # also while a large tree comes in. A full one is as rare as it was: after ten million objects more.
    gc.set_threshold(5_000, 5, 400)


def spare_new_tree() -> None:
    """Out of the collector's sight with a tree just taken over: hundreds of thousands of objects, no cycle in them."""
    gc.freeze()
