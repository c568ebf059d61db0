"""What a node tells its shell, in order: disk requests and outcomes of the store, files to write, and what subscribers
are told."""

from __future__ import annotations

from cfs.status import Event as StoreEvent
from clusterd.changes import ConfigApplied, KeysChanged, Removed
from clusterd.past import WentBack
from clusterd.reconfigure import Concluded
from clusterd.removals import RemovalsChanged
from quorum.events import SaveState, Verdict
from transport.events import ConfigurationChange, PathChange, Persist
from transport.exchange import RemovedNotice
from transport.groups import GroupChange, GroupMessage

NodeEvent = (
    StoreEvent
    | SaveState
    | Verdict
    | Persist
    | ConfigurationChange
    | PathChange
    | GroupChange
    | GroupMessage
    | ConfigApplied
    | KeysChanged
    | Removed
    | RemovalsChanged
    | RemovedNotice
    | Concluded
    | WentBack
)
