"""The sections of corosync.conf and their keys (corosync.conf(5)), and the two that are ours: `identity` in a node,
and `store`.

Field names are key names. A key without a field is accepted with a warning. Times are milliseconds here, as in the
file; None means not given.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict

from clusterd.config.values import I32, U8, U16, U32, U64, Dscp, HostAddress, Identity, Switch, words

_Transport = Annotated[str, words("Invalid transport type. Should be knet", "knet")]
_IpVersion = Annotated[str, words("Invalid ip_version type", "ipv4", "ipv6", "ipv4-6", "ipv6-4")]
_LinkMode = Annotated[
    str,
    words(
        'The Knet link mode "VALUE" specified is invalid.  It must be active, passive or rr.', "passive", "active", "rr"
    ),
]
_Cipher = Annotated[
    str, words("Invalid cipher type. Should be none, aes256, aes192 or aes128", "none", "aes256", "aes192", "aes128")
]
_Hash = Annotated[
    str,
    words(
        "Invalid hash type. Should be none, md5, sha1, sha256, sha384 or sha512",
        "none",
        "md5",
        "sha1",
        "sha256",
        "sha384",
        "sha512",
    ),
]
_Model = Annotated[str, words("Invalid crypto model. Should be nss or openssl", "nss", "openssl", "gcrypt")]
_Compression = Annotated[
    str,
    words(
        "Invalid compression model. Should be none, zlib, lz4, lz4hc, lzo2, lzma, bzip2 or zstd",
        "none",
        "zlib",
        "lz4",
        "lz4hc",
        "lzo2",
        "lzma",
        "bzip2",
        "zstd",
    ),
]
_KnetTransport = Annotated[str, words("Unrecognised knet_transport. expected 'udp'", "udp")]
_Provider = Annotated[str, words("Invalid quorum provider", "corosync_votequorum")]
_Durability = Annotated[
    str, words('The store durability "VALUE" is invalid. It must be disk or memory', "disk", "memory")
]
_Debug = Annotated[str, words("unknown value for debug", "on", "off", "trace", "yes", "no")]


class SectionModel(BaseModel):
    """Keys as given; what has no field here is unknown to us and to the reference."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Totem(SectionModel):
    version: U32 | None = None
    cluster_name: str = ""
    config_version: U64 = 0
    nodeid: U32 | None = None
    clear_node_high_bit: Switch = False
    transport: _Transport = "knet"
    ip_version: _IpVersion = "ipv6-4"
    ip_dscp: Dscp = 0
    netmtu: U32 | None = None
    threads: U32 = 0
    link_mode: _LinkMode = "passive"
    crypto_model: _Model = "nss"
    crypto_cipher: _Cipher = "aes256"
    crypto_hash: _Hash = "sha256"
    secauth: Switch = True
    keyfile: str = ""
    key: str = ""
    token: U32 | None = None
    token_coefficient: U32 | None = None
    token_warning: U32 | None = None
    token_retransmit: U32 | None = None
    token_retransmits_before_loss_const: U32 | None = None
    hold: U32 | None = None
    join: U32 | None = None
    send_join: U32 | None = None
    consensus: U32 | None = None
    merge: U32 | None = None
    downcheck: U32 | None = None
    fail_recv_const: U32 | None = None
    seqno_unchanged_const: U32 | None = None
    heartbeat_failures_allowed: U32 | None = None
    max_network_delay: U32 | None = None
    window_size: U32 | None = None
    max_messages: U32 | None = None
    miss_count_const: U32 | None = None
    cancel_token_hold_on_retransmit: Switch = False
    block_unlisted_ips: Switch = True
    knet_pmtud_interval: U32 | None = None
    knet_mtu: U32 | None = None
    knet_compression_model: _Compression = "none"
    knet_compression_threshold: U32 | None = None
    knet_compression_level: I32 | None = None


class Interface(SectionModel):
    linknumber: U8 = 0
    mcastport: U16 | None = None
    knet_link_priority: U8 | None = None
    knet_ping_interval: U32 | None = None
    knet_ping_timeout: U32 | None = None
    knet_ping_precision: U32 | None = None
    knet_pong_count: U32 | None = None
    knet_transport: _KnetTransport = "udp"
    bindnetaddr: str = ""
    mcastaddr: str = ""
    broadcast: str = ""
    ttl: U8 | None = None


class NodeSection(SectionModel):
    nodeid: U32 | None = None
    name: str = ""
    quorum_votes: U32 = 1
    identity: Identity = b""
    ring0_addr: HostAddress | None = None
    ring1_addr: HostAddress | None = None
    ring2_addr: HostAddress | None = None
    ring3_addr: HostAddress | None = None
    ring4_addr: HostAddress | None = None
    ring5_addr: HostAddress | None = None
    ring6_addr: HostAddress | None = None
    ring7_addr: HostAddress | None = None

    def addresses(self) -> dict[int, str]:
        """Link number -> address, of the links this node has."""
        given = {link: getattr(self, f"ring{link}_addr") for link in range(8)}
        return {link: address for link, address in given.items() if address}


class QuorumSection(SectionModel):
    provider: _Provider = "corosync_votequorum"
    expected_votes: U32 | None = None
    votes: U32 | None = None
    two_node: Switch = False
    wait_for_all: Switch | None = None
    last_man_standing: Switch = False
    last_man_standing_window: U32 = 10000
    auto_tie_breaker: Switch = False
    auto_tie_breaker_node: str = ""
    allow_downscale: Switch = False
    expected_votes_tracking: Switch = False
    leaving_timeout: U32 | None = None


class Device(SectionModel):
    model: str = ""
    votes: U32 | None = None
    timeout: U32 = 10000
    sync_timeout: U32 = 30000
    master_wins: Switch = False


class Logging(SectionModel):
    debug: _Debug = "off"
    to_stderr: Switch = True
    to_syslog: Switch = True
    to_logfile: Switch = False
    logfile: str = ""
    syslog_facility: str = "daemon"
    syslog_priority: str = "info"
    logfile_priority: str = "info"
    timestamp: str = "hires"
    fileline: Switch = False
    function_name: Switch = False
    blackbox: Switch = True


class Store(SectionModel):
    """Ours. Sizes in bytes."""

    durability: _Durability = "disk"


class UidGid(SectionModel):
    uid: str = ""
    gid: str = ""


class System(SectionModel):
    """sched_rr is obeyed; the others name things of corosync's own inside and are taken without a word."""

    sched_rr: Switch = True
    priority: str = ""
    qb_ipc_type: str = ""
    move_to_root_cgroup: str = ""
    allow_knet_handle_fallback: str = ""
    state_dir: str = ""
