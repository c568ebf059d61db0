"""The small files that a process writes beside its store: which event brings which file, and which waits for which.

As the daemon does it (clusterd/daemon.py): who was removed is on disk before the configuration without them, and the
keys that are live before the secret of the newest.
"""

from __future__ import annotations

from clusterd import keystore
from clusterd.changes import Changes, ConfigApplied, KeysChanged
from clusterd.removals import NAME as REMOVALS
from clusterd.removals import RemovalsChanged
from quorum.events import SaveState
from tests.sim.build import AUTHKEY, CONFIG, KEYRING, QUORUM_FILE
from tests.sim.storage import Storage
from transport.events import Persist
from transport.keyring import Keyring

Written = Persist | SaveState | RemovalsChanged | ConfigApplied | KeysChanged
"""What a node says that makes its process write a file."""


def quorum_file(event: SaveState) -> Persist:
    return Persist(0, QUORUM_FILE, f"{event.state.highest_expected} {event.state.newcomer}".encode())


class SmallFiles:
    """Those of one process; what is on the disk outlives it."""

    def __init__(self, storage: Storage, changes: Changes, keyring: Keyring) -> None:
        self._storage = storage
        self._changes = changes
        self._keyring = keyring

    def write(self, event: Written) -> None:
        """The node says that something is to be kept."""
        storage = self._storage
        match event:
            case Persist():
                storage.persist(event)
            case SaveState():
                storage.persist(quorum_file(event))
            case RemovalsChanged():
                storage.persist(Persist(0, REMOVALS, event.data))
            case ConfigApplied():
                if not storage.is_writing(REMOVALS):
                    storage.persist(Persist(0, CONFIG, event.config.text))
            case KeysChanged():
                storage.persist(Persist(0, KEYRING, keystore.save(self._keyring)[1]))

    def written(self, file: Persist) -> None:
        """This one is on disk: what has waited for it follows."""
        if file.name == KEYRING:
            self._storage.persist(Persist(0, AUTHKEY, keystore.save(self._keyring)[0]))
        elif file.name == REMOVALS:
            self._storage.persist(Persist(0, CONFIG, self._changes.config.text))

    def close(self) -> None:
        """The process ends cleanly: all of it is on disk, what has waited too."""
        late = {}
        if self._storage.is_writing(KEYRING):
            late[AUTHKEY] = keystore.save(self._keyring)[0]
        if self._storage.is_writing(REMOVALS):
            late[CONFIG] = self._changes.config.text
        self._storage.close()
        self._storage.files.update(late)
