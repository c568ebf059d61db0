"""The Noise handshake against published vectors, and what must make it fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transport.errors import WireError
from transport.noise import PROTOCOL_NAME, Handshake, public_key, shared_secret

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "noise_kkpsk0.json").read_text())["vectors"]


def pair(
    *,
    prologues: tuple[bytes, bytes] = (b"p", b"p"),
    psks: tuple[bytes, bytes] = (bytes(32), bytes(32)),
    believed: tuple[int, int] = (2, 1),
) -> tuple[Handshake, Handshake]:
    """Initiator with identity 1, responder with identity 2; believed: the identity each takes the other for."""
    identity = {n: bytes([n]) * 32 for n in range(1, 5)}
    first = X25519PrivateKey.from_private_bytes(identity[1])
    second = X25519PrivateKey.from_private_bytes(identity[2])
    return (
        Handshake(True, prologues[0], psks[0], first, public_key(identity[believed[0]]), b"\x71" * 32),
        Handshake(False, prologues[1], psks[1], second, public_key(identity[believed[1]]), b"\x72" * 32),
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
@pytest.mark.parametrize("cached", [False, True])
def test_published_vector(vector: dict[str, object], cached: bool) -> None:
    """Every byte of the published handshake, and of the four transport messages after it, both ways."""

    def field(name: str) -> bytes:
        return bytes.fromhex(str(vector[name]))

    assert vector["name"] == PROTOCOL_NAME.decode()
    sides = []
    for side, initiator in (("init", True), ("resp", False)):
        static = X25519PrivateKey.from_private_bytes(field(f"{side}_static"))
        remote = field(f"{side}_remote_static")
        shared = shared_secret(static, remote) if cached else None
        sides.append(
            Handshake(
                initiator, field(f"{side}_prologue"), field(f"{side}_psk"), static, remote,
                field(f"{side}_ephemeral"), shared,
            )
        )  # fmt: skip
    messages = vector["messages"]
    assert isinstance(messages, list)
    for index, message in enumerate(messages[:2]):
        writer, reader = sides[index], sides[1 - index]
        payload, expected = bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])
        assert writer.write_message(payload) == expected
        assert reader.read_message(expected) == payload
    assert sides[0].hash == sides[1].hash
    (a_send, a_receive), (b_send, b_receive) = sides[0].split(), sides[1].split()
    assert (a_send, a_receive) == (b_receive, b_send)
    for index, message in enumerate(messages[2:]):
        key, nonce = (a_send, b_send)[index % 2], (index // 2).to_bytes(12, "big")
        sealed = AESGCM(key).encrypt(nonce, bytes.fromhex(message["payload"]), b"")
        assert sealed == bytes.fromhex(message["ciphertext"])


@pytest.mark.parametrize(
    "difference",
    [
        {"prologues": (b"generation 1", b"generation 2")},
        {"psks": (bytes(32), b"\x01" * 32)},
        {"believed": (3, 1)},
        {"believed": (2, 3)},
    ],
    ids=["prologue", "psk", "wrong responder", "wrong initiator"],
)
def test_first_message_fails_when_anything_differs(difference: dict[str, tuple[bytes, bytes]]) -> None:
    """The first message is sealed under psk, es and ss with prologue and both identities hashed in (section 7.5)."""
    initiator, responder = pair(**difference)  # type: ignore[arg-type]  # one keyword of several types
    message = initiator.write_message(b"hello")
    with pytest.raises(WireError):
        responder.read_message(message)


def test_any_changed_bit_is_refused() -> None:
    """Each byte of both messages is authenticated."""
    initiator, _ = pair()
    first = initiator.write_message(b"one")
    for position in range(len(first)):
        changed = bytearray(first)
        changed[position] ^= 1
        if position == 31:
            changed[position] ^= 0x40  # not the top bit alone, which X25519 ignores but the hash does not
        with pytest.raises(WireError):
            pair()[1].read_message(bytes(changed))
    _, responder = pair()
    responder.read_message(first)
    second = responder.write_message(b"two")
    for position in range(len(second)):
        changed = bytearray(second)
        changed[position] ^= 1
        fresh = pair()[0]
        assert fresh.write_message(b"one") == first
        with pytest.raises(WireError):
            fresh.read_message(bytes(changed))


@pytest.mark.parametrize("message", [b"", bytes(47), bytes(48), bytes(200), b"\x01" + bytes(79)])
def test_short_and_low_order_messages_are_refused(message: bytes) -> None:
    """A low-order public key would give an all-zero secret; it is an error like any other (section 12.1)."""
    with pytest.raises(WireError):
        pair()[1].read_message(message)


def test_no_secret_in_repr() -> None:
    """What may reach a log or a traceback shows no key bytes."""
    initiator, _ = pair()
    initiator.write_message(b"")
    assert "0x" in repr(initiator) and "\\x01" not in repr(initiator)
