"""Where a lab lives and what it is made of: names, directories, addresses, and the file `lab.json` that says so.

    /var/tmp/clusterd-lab-UID/NAME/          or a symbolic link there to the directory of `--dir`
        lab.json  cuts.json                  the shape; what is cut
        n1/ n2/ ...                          corosync.conf authkey identity.key clusterd.sock clusterd.log pid state/
    /var/tmp/clusterd-lab-UID/NAME.lock      held while a command changes the lab

Only the user of the lab can look into its directory. On the command line's fast path: no heavy imports.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from typing import Any

from clusterd.client.errors import Denied, Failed, NotFound, UsageError

MAX_NAME = 32
DEFAULT = "default"  # the lab of who names none
FIRST_PORT = 5405


class Lab:
    """One lab's shape. ids are 1..N; votes and settings are as given to `lab up`."""

    def __init__(self, name: str, directory: str, shape: dict[str, Any]) -> None:
        self.name = name
        self.directory = directory
        self.base: int = shape["base"]
        self.links: int = shape["links"]
        self.votes: list[int] = shape["votes"]
        self.settings: list[str] = shape["set"]
        self.ids = list(range(1, shape["nodes"] + 1))

    def shape(self) -> dict[str, Any]:
        return {
            "base": self.base,
            "nodes": len(self.ids),
            "links": self.links,
            "votes": self.votes,
            "set": self.settings,
        }

    def node(self, text: str) -> int:
        """An id or a name as an id. Raises NotFound."""
        number = text.removeprefix("n")
        if number.isascii() and number.isdigit() and int(number) in self.ids:
            return int(number)
        raise NotFound(f"lab {self.name!r} has no node {text!r}", f"it has 1 to {len(self.ids)}")

    def nodes(self, texts: list[str]) -> list[int]:
        """Ids, names, comma lists and `all`, each once, in order of id. Raises NotFound."""
        words = [word for text in texts for word in text.split(",")]
        return self.ids if "all" in words else sorted({self.node(word) for word in words})

    def command(self, words: str) -> str:
        """What to type for this lab, as a hint."""
        return command(self.name, words)

    def node_dir(self, ident: int) -> str:
        return f"{self.directory}/n{ident}"

    def socket(self, ident: int) -> str:
        return f"{self.directory}/n{ident}/clusterd.sock"

    def log(self, ident: int) -> str:
        return f"{self.directory}/n{ident}/clusterd.log"

    def config(self, ident: int) -> str:
        return f"{self.directory}/n{ident}/corosync.conf"

    @property
    def cuts_file(self) -> str:
        return f"{self.directory}/cuts.json"

    def addresses(self, ident: int) -> list[str]:
        return [f"127.{self.base}.{link}.{ident}" for link in range(self.links)]


def command(name: str, words: str) -> str:
    """`clusterctl --lab NAME lab WORDS`, as short as it may be."""
    return f"clusterctl{'' if name == DEFAULT else f' --lab {name}'} lab {words}"


def root() -> str:
    """The directory of this user's labs."""
    return f"/var/tmp/clusterd-lab-{os.geteuid()}"


def home(name: str) -> str:
    """Where lab `name` is, or points to. Raises UsageError for what cannot be a file name."""
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    if not (plain.isascii() and plain.isalnum() and len(name) <= MAX_NAME and name[0] not in "-."):
        raise UsageError(f"a lab is named by at most {MAX_NAME} letters, digits, `-`, `_` and `.`, not {name!r}")
    return f"{root()}/{name}"


def make_root() -> str:
    """Make the directory of this user's labs, or check that it is ours: /var/tmp belongs to everybody."""
    path = root()
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Denied(f"{path} is not a directory that only this user can write to", "move it away")
    return path


def load(name: str) -> Lab | None:
    """The lab, or None when there is none. Raises Failed when its files are damaged."""
    directory = os.path.realpath(home(name))
    try:
        with open(f"{directory}/lab.json", encoding="utf-8") as file:
            return Lab(name, directory, json.load(file))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"{directory}/lab.json cannot be read: {error}", command(name, "down")) from None


def need(name: str) -> Lab:
    """The lab. Raises NotFound."""
    lab = load(name)
    if lab is None:
        raise NotFound(f"there is no lab {name!r}", command(name, "up"))
    return lab


def names() -> list[str]:
    """Names of all labs of this user."""
    try:
        found = sorted(os.listdir(root()))
    except OSError:
        return []
    return [name for name in found if os.path.exists(f"{root()}/{name}/lab.json")]


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One command at a time changes a lab; the others wait. The kernel lets go when the holder dies."""
    path = home(name) + ".lock"
    make_root()
    while True:
        with open(path, "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _still(path, file.fileno()):
                continue  # `lab down` removed it while we waited: nobody else will wait for this one
            try:
                yield
            finally:
                if not os.path.lexists(home(name)):
                    os.unlink(path)
            return


def _still(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def write_json(path: str, value: object) -> None:
    """Replace a small file in one step."""
    fresh = f"{path}.{os.getpid()}"
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(fresh, path)


def read_json(path: str) -> Any:
    """The value, or None when there is no such file, or half of one."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None
