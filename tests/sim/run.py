"""One run: a whole cluster from one seed or plan, its faults, its checkers, and what it came to."""

from __future__ import annotations

import gc
import time
import traceback

from tests.sim.cluster import Cluster
from tests.sim.course import Course
from tests.sim.guard import NoEnd
from tests.sim.history import Violation
from tests.sim.judge import Judge
from tests.sim.plan import Plan, draw
from tests.sim.report import Report
from tests.sim.trace import Print, Trace
from transport.ids import NodeId


def run_seed(
    seed: int, nodes: int | None = None, watched: frozenset[NodeId] = frozenset(), echo: Print = print
) -> Report:
    """Run one seed to its end or to the first broken promise."""
    return run_plan(draw(seed, nodes)[0], watched, echo)


def run_plan(
    plan: Plan,
    watched: frozenset[NodeId] = frozenset(),
    echo: Print = print,
    title: str = "",
    every: bool = False,
) -> Report:
    """The same of a plan that no seed draws; title: what to call it instead of its seed. every: see Trace."""
    report = Report(plan.seed, len(plan.nodes), title=title)
    trace = Trace(watched, echo, every)
    started = time.process_time()
    cluster: Cluster | None = None
    judge: Judge | None = None
    gc.disable()  # a run keeps nearly all it makes until its end: looking through it meanwhile finds nothing
    try:
        cluster = Cluster(plan, plan.random("run"), trace)
        judge = Judge(cluster)
        Course(cluster, judge).run()
    except Violation as violation:
        report.failure = violation
    except (Exception, NoEnd) as error:  # whatever a node raises is a failure of its own: no input may make it
        at = cluster.clock.now if cluster is not None else 0.0
        promise = "an end" if isinstance(error, NoEnd) else "no exception"
        report.failure = Violation(at, promise, f"{type(error).__name__}: {error}")
        report.details = traceback.format_exc()
    finally:
        gc.enable()
        trace.end()
    report.wall = time.process_time() - started
    report.fingerprint = trace.fingerprint
    if judge is not None:
        report.counts = judge.counts()
    return report
