"""The cluster keys across restarts: the authkey file, and beside the state what else is live or kept.

The authkey is the key as an administrator copies it to a new node. A key made by a rotation begins with a mark and
its generation, so the copy says which one it is; any other content is the first generation. The keyring file in the
state directory holds what a rotation left live or retired. An authkey that is not the one the keyring file was
written with was put there by hand, or a crash came between the two files: then the authkey alone counts.
"""

from __future__ import annotations

import hashlib

from transport.codec import Reader, Writer
from transport.core import Entropy
from transport.errors import BadArgument, Refused, WireError
from transport.keyring import MAX_SECRET, Keyring

FIRST_GENERATION = 1
KEY_BYTES = 256
_MARK = b"clusterd cluster key "
_VERSION = 1


def new_secret(generation: int, entropy: Entropy) -> bytes:
    """The content of an authkey of this generation."""
    head = _MARK + generation.to_bytes(8, "big")
    return head + entropy(KEY_BYTES - len(head))


def generation_of(authkey: bytes) -> int:
    """Which generation an authkey's content is."""
    if len(authkey) == KEY_BYTES and authkey.startswith(_MARK):
        return int.from_bytes(authkey[len(_MARK) : len(_MARK) + 8], "big")
    return FIRST_GENERATION


def _fingerprint(authkey: bytes) -> bytes:
    return hashlib.sha256(b"clusterd authkey" + authkey).digest()


def restore(authkey: bytes, saved: bytes | None) -> Keyring:
    """The keyring to start with. saved: the keyring file, None if there is none; a damaged one is not used."""
    fresh = Keyring(generation_of(authkey), authkey)
    if saved is None:
        return fresh
    try:
        reader = Reader(saved)
        if reader.u8() != _VERSION or reader.raw(32) != _fingerprint(authkey):
            return fresh
        current = reader.u64()
        keys = [(reader.u64(), reader.u8(), reader.blob(MAX_SECRET)) for _ in range(min(reader.u8(), 16))]
        checksum = reader.raw(32)
        reader.end()
    except WireError:
        return fresh
    if hashlib.sha256(saved[:-32]).digest() != checksum:
        return fresh
    try:
        return _keyring(current, keys)
    except (BadArgument, Refused):  # keys that no keyring holds together
        return fresh


def _keyring(current: int, keys: list[tuple[int, int, bytes]]) -> Keyring:
    """Of (generation, live, secret). Raises BadArgument, Refused."""
    secrets = {generation: secret for generation, live, secret in keys if live}
    if current not in secrets:
        raise Refused(f"cluster key generation {current} is not among them")
    keyring = Keyring(current, secrets.pop(current))
    for generation, secret in sorted(secrets.items()):
        if generation > current:
            keyring.add(generation, secret)
        else:
            keyring.retire(generation, secret)
    for generation, live, secret in keys:
        if not live:
            keyring.retire(generation, secret)
    return keyring


def save(keyring: Keyring) -> tuple[bytes, bytes]:
    """(authkey, keyring file): what to write after a change; both secret."""
    current = keyring.current
    writer = Writer().u8(_VERSION).raw(_fingerprint(current.secret)).u64(current.generation)
    live, retired = keyring.live(), keyring.retired()
    writer.u8(len(live) + len(retired))
    for is_live, keys in ((1, live), (0, retired)):
        for key in keys:
            writer.u64(key.generation).u8(is_live).blob(key.secret)
    body = writer.done()
    return current.secret, body + hashlib.sha256(body).digest()
