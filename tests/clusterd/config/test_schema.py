"""corosync.conf to settings: the reference's words, every error at once, our timing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.config import schema
from clusterd.config.parser import MAX_PROBLEMS, ConfigError
from clusterd.config.schema import NotListed, Who, load
from tests.clusterd.config.samples import BASE, config_of, node, nodelist, three


def errors_of(text: str, me: str = "n1") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text.encode(), Who(node=me), "F")
    return caught.value.lines


def test_a_plain_cluster():
    """What `create` writes: three nodes, one link, our defaults (DESIGN 5: token 600 ms, coefficient 0)."""
    config = config_of(three())
    assert (config.me, config.cluster_name, config.config_version) == (1, "lab", 3)
    assert config.transport.totem.token == 0.6 and config.transport.totem.hold == 0.075
    assert config.transport.links[0].port == 5405
    assert config.transport.nodes[2].addresses == {0: "10.0.0.2"}
    assert config.votes == {1: 1, 2: 1, 3: 1} and config.warnings == ()


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("version: 3", "This totem parser can only parse version 2 configurations."),
        ("version: x", 'Value of key "version" is expected to be integer in range (0..4294967295), but "x" was given'),
        ("config_version: -1", 'Value of key "config_version" is expected to be unsigned integer, but "-1" was given'),
        ("ip_dscp: 99", 'Value of key "ip_dscp" is expected to be number (0..63) or symbolical dscp value, but "99"'),
        ("ip_version: ipv5", "Invalid ip_version type"),
        ("transport: udpu", "Invalid transport type. Should be knet"),
        ("crypto_cipher: des", "Invalid cipher type. Should be none, aes256, aes192 or aes128"),
        ("crypto_hash: crc", "Invalid hash type. Should be none, md5, sha1, sha256, sha384 or sha512"),
        ("link_mode: foo", 'The Knet link mode "foo" specified is invalid.  It must be active, passive or rr.'),
        ("token: 20", "The token timeout parameter (20 ms) may not be less than (30 ms)."),
        ("token_warning: 101", "The token warning parameter (101%) must be between 0 (disabled) and 100."),
        ("consensus: 40", "The consensus timeout parameter (40 ms) may not be less than join timeout (50 ms)."),
        ("secauth: off", "There is no plaintext mode: traffic is always encrypted; remove secauth"),
        ("crypto_cipher: none", "There is no plaintext mode: traffic is always encrypted; remove crypto_cipher"),
    ],
)
def test_error_in_totem(key: str, sentence: str):
    """Each wrong value is told with its line and the reference's words (votequorum.md, section 10)."""
    lines = errors_of(three(f"totem {{\n  version: 2\n  {key}\n}}\n"))
    here = f"F:{len(three().splitlines()) + 3}: "
    assert any(sentence in line and line.startswith(here) for line in lines)


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        (nodelist(node(1), node(1, name="b")), "Nodeid 1 appears twice in corosync.conf"),
        (nodelist(node(1), node(2, name="n1")), "Two nodes have the name n1"),
        (nodelist(node(1), node(2, "ring0_addr: 10.0.0.1")), "Nodes n1 and n2 have the same address 10.0.0.1"),
        (nodelist(node(7, "nodeid: 70000")), "Knet requires nodeid to be less than 65536 for address '10.0.0.7'."),
        (nodelist(node(1), node(2, "ring1_addr: 10.1.0.2")), "Not all nodes have the same number of links"),
        (nodelist(node(1), node(2, "ring0_addr: fd00::2")), "Nodes for link 0 have different IP families"),
        (nodelist(node(1, "ring8_addr: 10.8.0.1")), "links are numbered 0 to 7"),
        (nodelist(node(1, "identity: 12")), 'Value of key "identity" is expected to be an X25519 public key'),
        ("", "No nodelist with a node in it"),
    ],
)
def test_error_in_nodelist(nodes: str, sentence: str):
    """Each wrong node is told."""
    assert any(sentence in line for line in errors_of(BASE + nodes))


def test_every_error_at_once():
    """Grammar, values and relations, all in one answer, in line order."""
    text = "totem {\n  version: 2\n  token: x\n  cluster_name: c\n}\nhello\n" + nodelist(node(1), node(1, name="b"))
    lines = errors_of(text)
    numbers = [int(line.split(":")[1]) for line in lines]
    assert len(lines) >= 2 and numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("quorum", "sentence"),
    [
        ("two_node: 1", "two_node needs exactly two nodes"),
        ("provider: ykd", "Invalid quorum provider"),
        ("auto_tie_breaker: 1\n  auto_tie_breaker_node: odd", "lowest, highest or a list of node ids"),
        ("two_node: maybe", 'Value of key "two_node" is expected to be yes or no, but "maybe" was given'),
    ],
)
def test_error_in_quorum(quorum: str, sentence: str):
    """What cannot be combined is refused before the daemon starts (votequorum.md, section 4.8)."""
    assert any(sentence in line for line in errors_of(three(f"quorum {{\n  {quorum}\n}}\n")))


def test_unknown_key_is_a_warning_with_a_guess():
    """Unknown keys are accepted, with their line and the nearest known name (votequorum.md, section 13)."""
    (warning,) = config_of(three("totem {\n  tokn: 5\n}\n")).warnings
    assert "The key tokn is not known" in warning and "is token meant?" in warning


def test_given_timing_is_obeyed():
    """A value given in the file is obeyed as written, coefficient included."""
    totem = config_of(three("totem {\n  token: 3000\n  token_coefficient: 650\n}\n")).transport.totem
    assert totem.token == 3.65 and totem.hold == pytest.approx(0.456, abs=0.001)


def test_link_settings():
    """Ports are 5405 + link, priorities and ping times by link."""
    text = (
        three() + "totem {\n  interface {\n    linknumber: 0\n    mcastport: 6000\n    knet_link_priority: 9\n  }\n}\n"
    )
    link = config_of(text).transport.links[0]
    assert (link.port, link.priority, link.ping_interval, link.ping_timeout) == (6000, 9, 0.1, 0.3)


def test_find_ourselves_by_host_name_then_address():
    """Host name, short name, then an address of a local interface (votequorum.md, section 11, nodelist)."""
    text = three().encode()
    assert load(text, Who(hostname="n2.example.org")).me == 2
    assert load(text, Who(hostname="other", addresses=("10.0.0.3",))).me == 3


def test_nobody_or_several_fit_is_refused_with_names():
    """None or several fit: refuse, naming them."""
    assert "the nodes are n1, n2, n3" in errors_of(three(), "n9")[0]
    with pytest.raises(ConfigError) as caught:
        load(three().encode(), Who(hostname="x", addresses=("10.0.0.1", "10.0.0.2")))
    assert "n1, n2" in caught.value.lines[0]


def test_not_listed_is_told_apart():
    """A node that is being removed must be able to agree to it."""
    with pytest.raises(NotListed):
        load(three().encode(), Who(node="9"))


@given(st.binary(max_size=300))
def test_any_bytes_are_an_error_or_a_configuration(text: bytes):
    """Nothing in a file makes it raise anything else."""
    try:
        load(text, Who(node="n1"))
    except ConfigError as error:
        assert error.lines


@given(st.lists(st.sampled_from(three().splitlines()), max_size=40))
def test_any_lines_are_an_error_or_a_configuration(lines: list[str]):
    """The same for files made of plausible lines."""
    try:
        load("\n".join(lines).encode(), Who(node="n1"))
    except ConfigError as error:
        assert error.lines


@pytest.mark.parametrize("line", ["x", "node {\n}", "interface {\nlinknumber: x\n}", "y: 1\n}"])
def test_a_file_full_of_mistakes_is_refused_with_the_first_hundred(line: str, monkeypatch: pytest.MonkeyPatch):
    """Any bytes cost little: some problems are told, the others are a number, and no more sections are looked into."""
    looked: list[object] = []
    for model in (schema.NodeSection, schema.Interface):
        validate = model.model_validate
        monkeypatch.setattr(model, "model_validate", lambda *a, validate=validate: looked.append(a) or validate(*a))
    inside = "totem" if "interface" in line else "nodelist"
    lines = errors_of(f"{inside} {{\n" + f"{line}\n" * 9_000 + "}\n")
    assert len(lines) <= MAX_PROBLEMS + 1 and len(looked) <= MAX_PROBLEMS + 1
    assert lines[-1].endswith(" more")


def test_links_without_end_in_one_node_are_told_without_looking_up_each(monkeypatch: pytest.MonkeyPatch):
    """The line of a key is looked for in its section: done for each of thousands, that is no cheap work any more."""
    asked: list[str] = []
    line_of = schema._line_of
    monkeypatch.setattr(schema, "_line_of", lambda section, key: asked.append(key) or line_of(section, key))
    keys = "".join(f"ring{n}_addr: 1\n" for n in range(8, 9_000))
    lines = errors_of("nodelist {\nnode {\n" + keys + "}\n}\n")
    assert len(lines) == MAX_PROBLEMS + 1 and len(asked) <= 2 * MAX_PROBLEMS


def test_warnings_without_end_are_a_number():
    """Unknown keys only warn; the first hundred are told."""
    found = load((three() + "".join(f"k{n}: 1\n" for n in range(5_000))).encode(), Who("n1"))
    assert len(found.warnings) == MAX_PROBLEMS + 1 and found.warnings[-1].endswith(" more")
