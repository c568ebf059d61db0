"""The values of corosync.conf keys as pydantic types, with the reference's words when one is wrong.

Every validator raises PydanticCustomError whose text is the whole sentence after `FILE:LINE: `, but for the key's
name, which only the caller knows: `{key}` stands for it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

_DSCP = {f"cs{n}": n * 8 for n in range(8)} | {"ef": 46}
_DSCP |= {f"af{c}{p}": c * 8 + p * 2 for c in range(1, 5) for p in range(1, 4)}


def wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("config", "{sentence}", {"sentence": sentence})


def _integer(low: int, high: int) -> BeforeValidator:
    def check(value: Any) -> int:
        text = str(value)
        if not re.fullmatch(r"[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise wrong(
                f'Value of key "KEY" is expected to be integer in range ({low}..{high}), but "{text}" was given'
            )
        return int(text)

    return BeforeValidator(check)


def _unsigned(value: Any) -> int:
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) >= 1 << 64:
        raise wrong(f'Value of key "KEY" is expected to be unsigned integer, but "{text}" was given')
    return int(text)


def _dscp(value: Any) -> int:
    text = str(value).lower()
    if text in _DSCP:
        return _DSCP[text]
    if re.fullmatch(r"[0-9]{1,2}", text) and int(text) <= 63:
        return int(text)
    raise wrong(
        f'Value of key "KEY" is expected to be number (0..63) or symbolical dscp value, but "{value}" was given'
    )


def _switch(value: Any) -> bool:
    text = str(value)
    if text not in ("yes", "no", "on", "off", "1", "0"):
        raise wrong(f'Value of key "KEY" is expected to be yes or no, but "{text}" was given')
    return text in ("yes", "on", "1")


def words(sentence: str, *allowed: str) -> AfterValidator:
    """One of `allowed`, else `sentence` (VALUE in it stands for what was given)."""

    def check(value: str) -> str:
        if value not in allowed:
            raise wrong(sentence.replace("VALUE", value))
        return value

    return AfterValidator(check)


def _identity(value: Any) -> bytes:
    text = str(value)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise wrong('Value of key "KEY" is expected to be an X25519 public key of 64 hex digits')
    return bytes.fromhex(text)


def _address(value: Any) -> str:
    text = str(value)
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        if not re.fullmatch(r"(?!-)[A-Za-z0-9_.-]{1,253}", text) or re.fullmatch(r"[0-9.]+", text):
            raise wrong(
                f'Value of key "KEY" is expected to be an IP address or host name, but "{text}" was given'
            ) from None
    return text


U8 = Annotated[int, _integer(0, 255)]
U16 = Annotated[int, _integer(0, 65535)]
U32 = Annotated[int, _integer(0, (1 << 32) - 1)]
I32 = Annotated[int, _integer(0, (1 << 31) - 1)]
U64 = Annotated[int, BeforeValidator(_unsigned)]
Dscp = Annotated[int, BeforeValidator(_dscp)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Identity = Annotated[bytes, BeforeValidator(_identity)]
HostAddress = Annotated[str, BeforeValidator(_address)]
