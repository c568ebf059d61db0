# clusterd: `make demo` shows a cluster, `make test` proves it. Both make .venv first; neither needs another step.
# Variables: PYTHON=python3.12 (which python makes .venv), KEEP=1 (demo), RUNS, NODES, SEED, PLAN, TRACE, COMPILED=1 (sim),
# MINUTES (fuzz, torture).

PY := .venv/bin/python

.PHONY: help demo test check sim speed stories mutants bench fuzz torture lock clean venv venv-dev venv-fuzz

help:
	@echo "make demo      a real three-node cluster on loopback, step by step, with its times (KEEP=1 leaves it running)"
	@echo "make test      lint, format, types, layer arrows and all tests"
	@echo "make check     lint, format, types, layer arrows"
	@echo "make sim       whole nodes under faults in virtual time (RUNS=200 NODES= SEED= PLAN= TRACE= COMPILED=1)"
	@echo "make speed     how much faster than real time that is, in pure Python and compiled"
	@echo "make stories   told situations, and every message lost and every crash in a membership change (NAMES=)"
	@echo "make mutants   small changes of the product, each of which must be found to break its promise (NAMES=, REFRESH=1, EVERY=1)"
	@echo "make bench     latency, throughput and durable writes of three daemons"
	@echo "make fuzz      every decoder and core fed by coverage (MINUTES=5 TARGETS=), then the property tests, 100 times longer"
	@echo "make torture   five real daemons under every fault and a load, judged by the simulator's checkers (MINUTES=10 SEED= NODES=5)"
	@echo "make lock      write the locked requirements anew    make clean   remove what make made"

venv:
	@requirements/venv.sh base

venv-dev:
	@requirements/venv.sh dev

venv-fuzz:
	@requirements/venv.sh fuzz

demo: venv
	@$(PY) -m clusterd.cli.demo $(if $(KEEP),--keep)

check: venv-dev
	@$(PY) -m tests.all check

test: venv-dev
	@requirements/debian.sh
	@requirements/venv.sh fuzz || echo "the fuzzer could not be installed: its phase says what that means"
	@$(PY) -m tests.all

sim: venv-dev
	@$(PY) -m tests.sim $(if $(PLAN),--plan $(PLAN)) $(if $(RUNS),--runs $(RUNS)) $(if $(NODES),--nodes $(NODES)) $(if $(SEED),--seed $(SEED)) $(if $(TRACE),--trace $(TRACE)) $(if $(COMPILED),--compiled)

speed: venv-dev
	@$(PY) -m tests.sim --speed --compiled

stories: venv-dev
	@$(PY) -m tests.sim.stories.play --whole $(NAMES)

mutants: venv-dev
	@$(PY) -m tests.mutants $(NAMES) $(if $(REFRESH),--refresh) $(if $(EVERY),--all-seeds)

bench: venv
	@$(PY) -m bench

fuzz: venv-fuzz
	@$(PY) -m tests.fuzz --minutes $(or $(MINUTES),5) $(if $(TARGETS),$(TARGETS),--properties)

torture: venv-dev
	@requirements/debian.sh
	@$(PY) -m tests.torture --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(NODES),--nodes $(NODES))

lock: venv
	@requirements/lock.sh

clean:
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info bench/results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
