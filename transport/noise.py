"""The handshake Noise_KKpsk0_25519_AESGCM_SHA256: two messages, both sides prove identity and cluster key.

Source: Perrin, "The Noise Protocol Framework", revision 34, 2018 (sections 5, 7.5 and 9: KK with psk0).

    -> s                 both static public keys are known beforehand (the nodelist)
    <- s
    -> psk, e, es, ss    write_message / read_message number one
    <- e, ee, se         number two; after it split() gives the two transport keys

Entropy is handed in: the ephemeral private key is an argument, never to be used twice. Nonces are four zero bytes
and a 64-bit big-endian counter, as Noise has it for AES-GCM; the sealed datagrams of sessions go on the same way.
Nothing here is logged or shown: no object has a repr with key bytes in it.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transport.errors import WireError

PROTOCOL_NAME = b"Noise_KKpsk0_25519_AESGCM_SHA256"
KEY_SIZE = 32
TAG_SIZE = 16


def public_key(private: bytes) -> bytes:
    """The X25519 public key (32 bytes) of a private one (32 bytes; ValueError for another size)."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def shared_secret(private: X25519PrivateKey, public: bytes) -> bytes:
    """Diffie-Hellman; WireError for a public key of another size or of low order (the secret would be all zero)."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise WireError("not a usable X25519 public key") from error


def hkdf2(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF with two outputs of 32 bytes (section 4.3)."""
    secret = hmac.digest(chaining_key, material, "sha256")
    first = hmac.digest(secret, b"\x01", "sha256")
    return first, hmac.digest(secret, first + b"\x02", "sha256")


def hkdf3(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes, bytes]:
    """Noise's HKDF with three outputs of 32 bytes."""
    secret = hmac.digest(chaining_key, material, "sha256")
    first = hmac.digest(secret, b"\x01", "sha256")
    second = hmac.digest(secret, first + b"\x02", "sha256")
    return first, second, hmac.digest(secret, second + b"\x03", "sha256")


class Handshake:
    """One handshake of one side; its messages are written and read in the pattern's order, each once.

    initiator:      True for the side that writes the first message.
    prologue:       what both sides must agree on beyond the keys; not sent.
    psk:            32 bytes both sides hold (derived from the cluster key).
    static:         our X25519 identity.
    remote_static:  the peer's public identity, 32 bytes.
    ephemeral:      32 fresh random bytes.
    static_shared:  the Diffie-Hellman of the two identities if the caller keeps it (it never changes for a pair,
                    and a quarter of a handshake's cost is spared); None computes it.
    """

    __slots__ = (
        "_cipher",
        "_ck",
        "_ephemeral",
        "_hash",
        "_initiator",
        "_nonce",
        "_psk",
        "_remote_ephemeral",
        "_remote_static",
        "_static",
        "_static_shared",
    )

    def __init__(
        self,
        initiator: bool,
        prologue: bytes,
        psk: bytes,
        static: X25519PrivateKey,
        remote_static: bytes,
        ephemeral: bytes,
        static_shared: bytes | None = None,
    ) -> None:
        self._initiator = initiator
        self._psk = psk
        self._static = static
        self._remote_static = remote_static
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        self._static_shared = static_shared
        self._remote_ephemeral = b""
        self._cipher: AESGCM | None = None
        self._nonce = 0
        self._hash = PROTOCOL_NAME  # exactly 32 bytes: used as it is (section 5.2)
        self._ck = PROTOCOL_NAME
        own = static.public_key().public_bytes_raw()
        self._mix_hash(prologue)
        for key in (own, remote_static) if initiator else (remote_static, own):
            self._mix_hash(key)

    @property
    def hash(self) -> bytes:
        """The running hash of everything so far, the same on both sides once both messages were read."""
        return self._hash

    def write_message(self, payload: bytes) -> bytes:
        """Our message of the pattern: an ephemeral public key (32 bytes), then the sealed payload (+16)."""
        public = self._ephemeral.public_key().public_bytes_raw()
        if self._initiator:
            self._mix_psk()
            self._mix_ephemeral(public)
            self._mix_key(shared_secret(self._ephemeral, self._remote_static))  # es
            self._mix_key(self._both_static())  # ss
        else:
            self._mix_ephemeral(public)
            self._mix_key(shared_secret(self._ephemeral, self._remote_ephemeral))  # ee
            self._mix_key(shared_secret(self._ephemeral, self._remote_static))  # se
        return public + self._seal(payload)

    def read_message(self, message: bytes) -> bytes:
        """The payload of the peer's message. WireError if it is not authentic; this handshake is useless then."""
        if len(message) < KEY_SIZE + TAG_SIZE:
            raise WireError(f"handshake message of {len(message)} bytes")
        public = message[:KEY_SIZE]
        self._remote_ephemeral = public
        if self._initiator:
            self._mix_ephemeral(public)
            self._mix_key(shared_secret(self._ephemeral, public))  # ee
            self._mix_key(shared_secret(self._static, public))  # se
        else:
            self._mix_psk()
            self._mix_ephemeral(public)
            self._mix_key(shared_secret(self._static, public))  # es
            self._mix_key(self._both_static())  # ss
        return self._open(message[KEY_SIZE:])

    def split(self) -> tuple[bytes, bytes]:
        """(key to send under, key to receive under), after the second message."""
        first, second = hkdf2(self._ck, b"")
        return (first, second) if self._initiator else (second, first)

    def _both_static(self) -> bytes:
        if self._static_shared is None:
            self._static_shared = shared_secret(self._static, self._remote_static)
        return self._static_shared

    def _mix_hash(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def _mix_key(self, material: bytes) -> None:
        self._ck, key = hkdf2(self._ck, material)
        self._cipher = AESGCM(key)
        self._nonce = 0

    def _mix_psk(self) -> None:
        self._ck, mixed, key = hkdf3(self._ck, self._psk)
        self._mix_hash(mixed)
        self._cipher = AESGCM(key)
        self._nonce = 0

    def _mix_ephemeral(self, public: bytes) -> None:
        """In a psk handshake the ephemeral key goes into the chaining key too (section 9.2)."""
        self._mix_hash(public)
        self._mix_key(public)

    def _seal(self, payload: bytes) -> bytes:
        assert self._cipher is not None
        sealed = self._cipher.encrypt(self._nonce.to_bytes(12, "big"), payload, self._hash)
        self._nonce += 1
        self._mix_hash(sealed)
        return sealed

    def _open(self, sealed: bytes) -> bytes:
        assert self._cipher is not None
        try:
            payload = self._cipher.decrypt(self._nonce.to_bytes(12, "big"), sealed, self._hash)
        except InvalidTag as error:
            raise WireError("handshake message is not authentic") from error
        self._nonce += 1
        self._mix_hash(sealed)
        return payload
