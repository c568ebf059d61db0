"""`python -m clusterd.cli` is clusterctl."""

from clusterd.cli.main import run

run()
