"""Changes that this node agreed to and does not know the end of (promises.py): what they forbid, and how they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clusterd.promises import MAX_HELD, Promise, Promises
from clusterd.said import Said, disproved, finisher
from transport.core import Log
from transport.ids import NodeId


class Doubts:
    """version: everywhere, of the configuration in force here; members: of the ring.

    True between any two calls: what is unfinished is in doubt, and all who agreed to it went through the last barrier.
    """

    def __init__(self, me: NodeId, name_of: Callable[[NodeId], str], promises: Promises, log: Log) -> None:
        self._me = me
        self._name_of = name_of
        self._promises = promises
        self._log = log
        self._told: tuple[bytes, ...] = ()
        self._open: tuple[Promise, ...] = ()  # this ring has all who may run them, and nobody does
        self.unfinished: Promise | None = None
        """For this node to propose again, once there is quorum."""

    def begin(self) -> None:
        """Another ring, and nothing is known of its members."""
        self._open, self.unfinished = (), None

    def about(self, text: bytes, version: int) -> bool:
        """Is this one of them?"""
        return any(promise.text == text for promise in self._promises.doubtful(version))

    def highest(self, version: int) -> int:
        """Nothing below this is taken from anybody; 0 without a doubt."""
        return max((promise.version for promise in self._promises.doubtful(version)), default=0)

    def objection(self, text: bytes, wanted: int, version: int, members: tuple[NodeId, ...]) -> str:
        """Why a text with the version `wanted` may not come now; "" if it may."""
        doubtful = self._promises.doubtful(version)
        for promise in doubtful:
            if promise.text != text and promise.version >= wanted:
                away = self._away(promise, members) or "others"
                return (
                    f"configuration version {promise.version} was agreed to, and may be in force on {away}: "
                    f"raise config_version to {promise.version + 1} or more"
                )
        if len(doubtful) >= MAX_HELD:
            return f"how {MAX_HELD} changes of the configuration ended is not known; start the nodes that are away"
        return ""

    def weigh(self, said: Mapping[NodeId, Said], version: int, members: tuple[NodeId, ...]) -> bool:
        """How did they end, by the words of a barrier? Whether the file has to be written."""
        changed = False
        for promise in self._promises.doubtful(version):
            if disproved(promise, said):
                self._log.info(f"the change to configuration version {promise.version} came to nothing")
                changed |= self._promises.drop(promise.change_id)
            elif (finishes := finisher(promise, said)) is not None:
                self._open = (*self._open, promise)
                if finishes == self._me:
                    self.unfinished = promise
        left = self._promises.doubtful(version)
        told, self._told = self._told, tuple(promise.change_id for promise in left)
        for promise in left:
            away = self._away(promise, members)
            if away and promise.change_id not in told:
                self._log.warning(
                    f"configuration version {promise.version} was agreed to, and may be in force on {away}: "
                    "it is taken as soon as that is known"
                )
        return changed

    def refused(self, text: bytes) -> bool:
        """A member said no to this text, at its place in the order: where all are who agreed to it, it is over.

        Whether the file has to be written.
        """
        dropped = [self._promises.drop(promise.change_id) for promise in self._open if promise.text == text]
        return any(dropped)

    def _away(self, promise: Promise, members: tuple[NodeId, ...]) -> str:
        return ", ".join(self._name_of(node) for node in promise.holders if node not in members)
