"""clusterd: the command line of the daemon.

Exit codes: 0 after a clean leave, 2 for a configuration that cannot be used (every problem on stderr as
FILE:LINE: sentence), 1 for anything else.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from pathlib import Path

from clusterd import __version__
from clusterd.config import authkey
from clusterd.config.parser import MAX_FILE, ConfigError
from clusterd.config.schema import ClusterConfig, Who, load
from clusterd.log import LEVELS, setup

DEFAULT_CONFIG = Path("/etc/clusterd/corosync.conf")
DEFAULT_STATE = Path("/var/lib/clusterd")
DEFAULT_SOCKET = "/run/clusterd/clusterd.sock"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clusterd",
        description="Cluster membership, quorum and the replicated configuration store. Runs in the foreground.",
        epilog="SIGTERM: clean leave, exit 0. SIGHUP: reload the configuration on all nodes.",
    )
    add = parser.add_argument
    add("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help=f"corosync.conf ({DEFAULT_CONFIG})")
    add("--key", type=Path, metavar="FILE", help="cluster key (authkey beside the configuration)")
    add("--identity", type=Path, metavar="FILE", help="this node's private key (identity.key beside the cluster key)")
    add("--state", type=Path, default=DEFAULT_STATE, metavar="DIR", help=f"state directory ({DEFAULT_STATE})")
    add("--socket", default=DEFAULT_SOCKET, metavar="PATH", help=f"local socket ({DEFAULT_SOCKET})")
    add("--node", metavar="NAME", help="which node of the file this is (default: by name, then by address)")
    add("--log-level", choices=LEVELS, metavar="L", help=f"one of {', '.join(LEVELS)} (info)")
    add("--lab", action="store_true", help="accept cuts of links on the local socket, for trying things out")
    add("--check", action="store_true", help="check the configuration and the key files, then exit")
    add("--version", action="version", version=f"clusterd {__version__}")
    return parser


def read_config(path: Path, node: str | None) -> ClusterConfig:
    """Raises ConfigError, also when the file cannot be read."""
    from clusterd import hosts
    from clusterd.config.parser import Problem, parse

    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(str(path), [Problem(1, f"Can't read file {path}: {error.strerror}")]) from error
    who = Who(node=node, hostname=socket.gethostname())
    if node is None:
        given = {k.value for p, k in parse(text, []).walk() if p == "nodelist.node" and k.name.endswith("_addr")}
        who.addresses = hosts.local_among(given)
    return load(text, who, str(path))


def main(argv: list[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    try:
        config = read_config(options.config, options.node)
    except ConfigError as error:
        print("\n".join(error.lines), file=sys.stderr)
        return 2
    key = options.key or (Path(config.keyfile) if config.keyfile else options.config.with_name("authkey"))
    identity = options.identity or key.with_name("identity.key")
    try:
        secrets = authkey.read_authkey(key), authkey.read_identity(identity)
        if authkey.public_half(secrets[1]) != config.transport.nodes[config.me].identity:
            name = config.name_of(config.me)
            raise authkey.KeyFileError(f"{identity}: is not the private half of the identity listed for {name}")
    except authkey.KeyFileError as error:
        print(error, file=sys.stderr)
        return 2
    if options.check:
        for line in config.warnings:
            print(f"{line} (warning)", file=sys.stderr)
        print(f"{options.config}: in order; this is {config.name_of(config.me)}, node id {config.me}")
        return 0

    log = setup(options.log_level or ("debug" if config.debug else "info"))
    for line in config.warnings:
        log.warning(line)
    from clusterd.daemon import Daemon, Files, Options
    from clusterd.notify import Notifier
    from clusterd.realtime import freeze_garbage, lock_memory, schedule_realtime
    from transport.errors import ClusterError

    def ready() -> None:
        lock_memory(log)
        if config.realtime:
            schedule_realtime(log)
        freeze_garbage()

    async def run() -> int:
        wiring = Options(options.config, key, identity, options.state, options.socket, str(config.me), options.lab)
        return await Daemon(wiring, Files(config, *secrets), log, Notifier()).run(ready)

    import uvloop

    log.info(f"clusterd {__version__}: cluster {config.cluster_name}, this is {config.name_of(config.me)}")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run())
    except (ClusterError, OSError) as error:
        log.error(f"cannot run: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
