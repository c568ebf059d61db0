"""Real daemons under everything at once: python -m tests.torture [--minutes M] [--seed HEX] [--nodes N] [--wired]

Starts a cluster of its own and, round after round, lets clients write, compare and set, rename, remove, upload, read
and watch through every node while nodes are killed, stopped and leave, links cut and made bad, disks filled, cluster
keys rotated and configurations reloaded. Meanwhile every node is asked whether it is quorate and what it holds. After
each round everything is healed, and the history of the round goes to the simulator's checkers (docs/simulator.md, "Real
processes").

As root the nodes have network namespaces, nft drops and small disks of their own; else loopback and what a user may do,
which --wired refuses (status 2). The seed decides what is done and when, not how processes interleave: it repeats the
trouble, not the run. A line tells every ten seconds how far it is. A broken promise ends it with status 1 and leaves
everything in one directory, which is named; else nothing is left behind. Ctrl-C ends it in a few seconds with status
130.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

from tests.sim.history import Violation
from tests.torture import report, wired
from tests.torture.faults import Broken
from tests.torture.judges import not_judged
from tests.torture.moments import clock
from tests.torture.run import PEACE, Torture

SETTINGS = ["system.sched_rr=no"]
LINKS = 2
LEAST = 5.0  # seconds of trouble: a shorter round is not begun
LINE_EVERY = 10.0


def tell_progress(torture: Torture, minutes: float, enough: threading.Event) -> None:
    while not enough.wait(LINE_EVERY):
        print(report.line(torture, minutes), flush=True)


def rounds(torture: Torture, minutes: float) -> None:
    """Rounds until the time is up. Raises Broken, Violation."""
    end = torture.began + 60 * minutes
    torture.start()
    while not torture.rounds or clock() < end - PEACE - LEAST:
        torture.round(end - PEACE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--seed", type=lambda text: int(text, 16), help="what to draw (by default from the time)")
    parser.add_argument("--nodes", type=int, default=5, choices=range(2, 10), metavar="N", help="2 to 9 (5)")
    parser.add_argument("--wired", action="store_true", help="fail where nodes cannot have networks of their own")
    options = parser.parse_args()
    reason = wired.why_not_wired()
    if options.wired and reason:
        print(f"the nodes cannot have networks of their own: {reason}", file=sys.stderr)
        return 2
    seed: int = options.seed if options.seed is not None else int(time.time()) & 0xFFFFFF
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: clean up
    directory = Path(tempfile.mkdtemp(prefix=f"{wired.PREFIX}-{os.getpid()}-{seed:06x}-", dir="/var/tmp"))
    failed = True
    where = torture = None
    status = 1
    enough = threading.Event()
    try:
        where = wired.make(directory, options.nodes, LINKS, SETTINGS, reason)
        print(f"seed {seed:06x}: {options.nodes} nodes for {options.minutes:g} minutes; {where.kind}", flush=True)
        torture = Torture(where, seed)
        threading.Thread(target=tell_progress, args=(torture, options.minutes, enough), daemon=True).start()
        rounds(torture, options.minutes)
        if missing := not_judged(torture.judge.counts, 60 * options.minutes):
            raise Broken(f"never judged: {'; '.join(missing)}")
        failed, status = False, 0
        verdict = f"every promise held for {(clock() - torture.began) / 60:.1f} minutes"
    except KeyboardInterrupt:
        failed, status = False, 130
        verdict = "stopped"
    except (Broken, Violation) as broken:
        verdict = f"FAILED: {broken}"
    except Exception:
        verdict = "FAILED: the torture itself broke"
        traceback.print_exc()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # cleaning up takes a moment and must not be left half done
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        enough.set()
        if torture is not None:
            torture.stop()
        if where is not None:
            where.close(keep_state=failed)
    if torture is not None:
        print(report.table(torture))
    print(verdict)
    if failed:
        again = f"python -m tests.torture --minutes {options.minutes:g} --seed {seed:x} --nodes {options.nodes}"
        print(f"logs, stores, configurations, the story and the history are in {directory}\nagain: {again}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
