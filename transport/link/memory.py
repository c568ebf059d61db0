"""Two processes remember for each other how far they have come: who was put back in time is told.

A virtual machine put back to a snapshot with its memory goes on in the middle of what it did, and where no hypervisor
tells, nothing on that machine can know: its clocks went back as well. Only its peers can. So every ping is numbered by
its sender, and each side tells the other, in pings of its own, the highest number it heard. Who is told of one that it
has not given out yet did give it out, in a future that it does not remember.

A ping has no room to spare, and its id may be anything: the upper half is its number on this path, from 1 on, the lower
half one word, by turns of four:

    number mod 4 = 0, 1   the tag of this path's life at the sender: random, so that no other life is taken for it
    number mod 4 = 2      the tag of the life that the highest number heard is of, 0: nothing was heard
    number mod 4 = 3      that number

Only pings that carry the tag make a number known, and 2 and 3 count together only when they come one after the other:
whatever is late, lost or in another order, nobody honest tells of a number that was not given out. The words come in
the session of the two, so nobody else can have said them.
"""

from __future__ import annotations

WORD_BITS = 32
_WORD = (1 << WORD_BITS) - 1


class Memory:
    """What two ends of one path told each other. tag: random, not 0, of this path in this process."""

    __slots__ = ("_asked", "_tag", "_telling", "_their_tag", "_their_top", "given")

    def __init__(self, tag: int) -> None:
        self.given = 0
        """The highest number given out."""
        self._tag = tag & _WORD or 1
        self._their_tag = self._their_top = 0
        self._telling = 0  # the number that goes with the tag told last
        self._asked = -1  # the number of the peer's last ping that told our tag

    def next_id(self) -> int:
        """The id of the next ping: a number never used before, and what is to be told."""
        self.given += 1
        turn = self.given & 3
        if turn < 2:
            word = self._tag
        elif turn == 2:
            word, self._telling = self._their_tag, self._their_top
        else:
            word = self._telling
        return self.given << WORD_BITS | word

    def heard(self, ping: int) -> bool:
        """A ping of the peer with this id; True when it tells of a number of ours that we never gave out."""
        number, word = ping >> WORD_BITS, ping & _WORD
        turn = number & 3
        if turn < 2:
            if word != self._their_tag:
                self._their_tag, self._their_top = word, number
            elif number > self._their_top:
                self._their_top = number
        elif turn == 2:
            self._asked = number if word == self._tag else -1
        elif self._asked == number - 1:
            return word > self.given
        return False
