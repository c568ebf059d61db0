"""Cluster keys: derivation, the three steps of a rotation, and what a member may hand us."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from transport.errors import BadArgument, Refused
from transport.keyring import MAX_AHEAD, ClusterKey, Keyring, hkdf

OLD, NEW, NEWER = (
    b"old secret, 32 bytes or more ...",
    b"new secret, 32 bytes or more ...",
    b"the one after, 32 bytes or more.",
)


def test_hkdf_is_rfc_5869() -> None:
    """RFC 5869 appendix A.1 (the first 32 bytes), and the library's own for another input."""
    salt, info = bytes(range(13)), bytes(range(0xF0, 0xFA))
    expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    assert hkdf(b"\x0b" * 22, salt, info).hex() == expected
    assert hkdf(NEW, b"salt", b"info") == HKDF(SHA256(), 32, b"salt", b"info").derive(NEW)


def test_each_generation_and_use_has_its_own_key() -> None:
    """A label per use and the generation in the salt: the same file under another number shares nothing."""
    first, second = ClusterKey.derive(1, OLD), ClusterKey.derive(2, OLD)
    keys = {first.psk, first.mac_key, first.cookie_key, second.psk, second.mac_key, second.cookie_key}
    assert len(keys) == 6 and OLD not in keys


@pytest.mark.parametrize("size, fits", [(31, False), (32, True), (4096, True), (4097, False)])
def test_size_of_the_secret(size: int, fits: bool) -> None:
    """The authkey file holds 32 to 4096 bytes."""
    if fits:
        assert Keyring(1, bytes(size)).current.generation == 1
    else:
        with pytest.raises(BadArgument):
            Keyring(1, bytes(size))


def test_rotation_in_three_steps() -> None:
    """add: both accepted, the old one sends; use: the new one sends; drop: the old one only helps latecomers."""
    ring = Keyring(1, OLD)
    ring.add(2, NEW)
    assert ring.current.generation == 1 and ring.is_live(2)
    ring.use(2)
    assert ring.current.generation == 2 and ring.is_live(1)
    ring.drop(1)
    assert not ring.is_live(1) and ring.find(1) is not None
    assert [key.generation for key in ring.retired()] == [1]


def test_what_a_rotation_refuses() -> None:
    """Two live at most, generations only rise, the key in use stays, one generation has one secret."""
    ring = Keyring(5, OLD)
    with pytest.raises(Refused):
        ring.add(4, NEW)
    with pytest.raises(Refused):
        ring.add(5, NEW)
    with pytest.raises(Refused):
        ring.use(6)
    with pytest.raises(Refused):
        ring.drop(5)
    with pytest.raises(Refused):
        ring.drop(6)
    with pytest.raises(Refused):
        ring.retire(5, OLD)
    ring.add(6, NEW)
    ring.add(6, NEW)
    with pytest.raises(Refused):
        ring.add(7, NEWER)
    ring.drop(6)  # given up: a generation above the current one is not kept
    assert ring.find(6) is None


def test_only_the_last_four_are_kept() -> None:
    """Old keys are bounded: whoever was away for more than four rotations joins anew."""
    ring = Keyring(1, OLD)
    for generation in range(2, 9):
        ring.add(generation, bytes([generation]) * 32)
        ring.use(generation)
        ring.drop(generation - 1)
    assert [key.generation for key in ring.retired()] == [4, 5, 6, 7]


def test_learning_from_a_member() -> None:
    """A newer key is taken, put to use when the member uses it; nothing older, other or malformed changes a thing."""
    ring = Keyring(3, OLD)
    assert not ring.learn(2, NEW, True)
    assert not ring.learn(3, NEW, True)
    assert not ring.learn(4, b"short", True)
    assert ring.current.generation == 3 and len(ring.live()) == 1
    assert ring.learn(4, NEW, False)
    assert not ring.learn(4, NEW, False)
    assert ring.current.generation == 3
    assert ring.learn(4, NEW, True)
    assert ring.current.generation == 4
    assert ring.learn(6, NEWER, False)  # the pair is then 4 and 6; 3 went into retirement
    assert [key.generation for key in ring.live()] == [4, 6]
    assert not ring.learn(5, OLD, False)
    assert [key.generation for key in ring.retired()] == [3]


def test_no_secret_in_repr() -> None:
    """Neither the file's content nor anything derived may reach a log."""
    ring = Keyring(1, OLD)
    shown = repr(ring) + repr(ring.current) + repr(ring.live())
    for secret in (OLD, ring.current.psk, ring.current.mac_key, ring.current.cookie_key):
        assert repr(secret)[2:-1] not in shown and secret.hex() not in shown
    assert len(ring.current.fingerprint) == 8


def test_a_generation_no_rotation_came_to_is_not_learned() -> None:
    """One member's word must not use up the numbers: nobody could rotate after the last of them."""
    keyring = Keyring(5, OLD)
    assert not keyring.learn((1 << 64) - 1, NEW, in_use=True) and keyring.current.generation == 5
    assert keyring.learn(5 + MAX_AHEAD, NEW, in_use=True) and keyring.current.generation == 5 + MAX_AHEAD


def test_a_key_given_up_here_is_not_learned_again_unless_it_is_in_use():
    """A member that has not heard yet that a rotation came to nothing hands its key over once more."""
    ring = Keyring(1, b"a" * 32)
    assert ring.learn(2, b"b" * 32, in_use=False)
    ring.drop(2)
    assert not ring.learn(2, b"b" * 32, in_use=False) and not ring.is_live(2)
    assert ring.learn(2, b"b" * 32, in_use=True) and ring.current.generation == 2


def test_a_key_in_use_elsewhere_replaces_one_of_its_number_that_never_came_into_use() -> None:
    """Two rotations at once: the one we heard of came to nothing, the other's key has the same number. Who kept the
    first for good would be out of the cluster once the old key has ended there."""
    ring = Keyring(1, OLD)
    assert ring.learn(2, NEW, in_use=False)
    assert not ring.learn(2, NEWER, in_use=False)
    assert ring.learn(2, NEWER, in_use=True)
    assert ring.current == ClusterKey.derive(2, NEWER) and ring.find(2) == ring.current
    assert not ring.learn(2, NEW, in_use=True), "the key in use is not replaced by another of its number"
    assert [key.generation for key in ring.live()] == [1, 2]


def test_a_key_in_use_elsewhere_is_taken_although_a_newer_one_was_offered() -> None:
    """The newer one may be of a rotation under way: it stays, and the one that we used retires."""
    ring = Keyring(1, OLD)
    assert ring.learn(3, NEWER, in_use=False)
    assert ring.learn(2, NEW, in_use=True)
    assert ring.current == ClusterKey.derive(2, NEW)
    assert [key.generation for key in ring.live()] == [2, 3]
    assert [key.generation for key in ring.retired()] == [1]
