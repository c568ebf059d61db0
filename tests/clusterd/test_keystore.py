"""Cluster keys across restarts."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from clusterd import keystore
from transport.keyring import Keyring

KEY, NEXT = b"k" * 256, b"n" * 256


def test_first_start_has_the_authkey_alone():
    """Without a saved keyring the authkey is the first generation."""
    keyring = keystore.restore(KEY, None)
    assert keyring.current.secret == KEY and keyring.current.generation == keystore.FIRST_GENERATION


def test_rotation_survives_a_restart():
    """What was live and what was retired is so again."""
    keyring = Keyring(1, KEY)
    keyring.add(2, NEXT)
    keyring.use(2)
    keyring.drop(1)
    again = keystore.restore(*keystore.save(keyring))
    assert again.current.generation == 2 and again.current.secret == NEXT
    assert [k.generation for k in again.retired()] == [1]


def test_a_key_under_rotation_stays_live():
    """The next generation was received, not yet in use."""
    keyring = Keyring(1, KEY)
    keyring.add(2, NEXT)
    again = keystore.restore(*keystore.save(keyring))
    assert again.current.generation == 1 and again.is_live(2)


def test_authkey_put_there_by_hand_begins_anew():
    """The administrator's file decides."""
    _, saved = keystore.save(Keyring(7, KEY))
    assert keystore.restore(NEXT, saved).current.generation == keystore.FIRST_GENERATION


def test_a_rotated_key_says_its_generation():
    """Copied to a new node, or to one whose state directory is lost, it works there (DESIGN 6)."""
    secret = keystore.new_secret(5, lambda size: b"r" * size)
    assert len(secret) == keystore.KEY_BYTES
    assert keystore.restore(secret, None).current.generation == 5
    assert keystore.generation_of(KEY) == keystore.FIRST_GENERATION


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damaged_file_is_not_used(junk: bytes, at: int):
    """Any change of the file is noticed."""
    authkey, saved = keystore.save(Keyring(7, KEY))
    damaged = saved[:at] + junk + saved[at + len(junk) :]
    generation = keystore.restore(authkey, damaged).current.generation
    assert generation == (7 if damaged == saved else keystore.FIRST_GENERATION)


def test_keys_that_contradict_each_other_are_not_used():
    """A checksum does not make a file right: one generation both live and retired, a key that is too short."""
    for live, secret in ((0, NEXT), (1, b"short")):
        keyring = Keyring(3, KEY)
        keyring.add(4, NEXT)
        _, saved = keystore.save(keyring)
        head = saved[: 1 + 32 + 8]
        one = (3).to_bytes(8, "big") + b"\1" + len(KEY).to_bytes(4, "big") + KEY
        other = (3 if not live else 4).to_bytes(8, "big") + bytes([live]) + len(secret).to_bytes(4, "big") + secret
        body = head + b"\2" + one + other
        assert saved.startswith(head + b"\2" + one)
        again = keystore.restore(KEY, body + hashlib.sha256(body).digest())
        assert again.current.generation == keystore.FIRST_GENERATION
