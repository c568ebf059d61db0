"""Where labs live, and what names and addresses they have."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from clusterd.client import Conflict, Denied, Failed, NotFound, UsageError
from clusterd.lab import cuts, files, layout, ports
from clusterd.lab.layout import Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab of four nodes on two links, on disk and not running."""
    monkeypatch.setattr(layout, "root", lambda: str(tmp_path))
    shape = {"base": 77, "nodes": 4, "links": 2, "votes": [1, 1, 1, 2], "set": []}
    (tmp_path / "four").mkdir()
    layout.write_json(f"{tmp_path}/four/lab.json", shape)
    found = layout.load("four")
    assert found is not None
    return found


def test_a_lab_is_found_again_with_its_shape(lab: Lab, tmp_path: Path):
    """lab.json is all there is to know."""
    assert (lab.name, lab.directory, lab.ids, lab.votes) == ("four", f"{tmp_path}/four", [1, 2, 3, 4], [1, 1, 1, 2])
    assert lab.addresses(3) == ["127.77.0.3", "127.77.1.3"]
    assert layout.names() == ["four"]
    assert layout.load("five") is None
    with pytest.raises(NotFound, match="no lab 'five'"):
        layout.need("five")


def test_a_damaged_lab_says_so(lab: Lab):
    """Half a file is an error with the way out, not a traceback."""
    Path(f"{lab.directory}/lab.json").write_text('{"base": 77')
    with pytest.raises(Failed, match="cannot be read"):
        layout.load("four")


def test_nodes_are_named_by_id_or_name_lists_or_all(lab: Lab):
    """`id, comma list or all`; names too."""
    assert lab.nodes(["3", "n1"]) == [1, 3]
    assert lab.nodes(["2,n4,2"]) == [2, 4]
    assert lab.nodes(["all"]) == [1, 2, 3, 4]
    for wrong in ("5", "0", "nn1", "", "-1", "\uff11"):
        with pytest.raises(NotFound):
            lab.nodes([wrong])


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-x", "ü", "a" * 33, "a b"])
def test_names_that_are_no_file_names_are_refused(name: str):
    """A lab's name becomes a directory's."""
    with pytest.raises(UsageError):
        layout.home(name) if name else layout.home(" ")


def test_a_root_that_others_can_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """/var/tmp belongs to everybody; the lab's keys do not."""
    place = tmp_path / "labs"
    monkeypatch.setattr(layout, "root", lambda: str(place))
    assert layout.make_root() == str(place)
    assert place.stat().st_mode & 0o777 == 0o700
    place.chmod(0o777)
    with pytest.raises(Denied):
        layout.make_root()
    place.rmdir()
    place.symlink_to(tmp_path)
    with pytest.raises(Denied):
        layout.make_root()


def test_commands_on_one_lab_take_turns(lab: Lab):
    """Parallel-safe: the second waits for the first."""
    order: list[str] = []
    entered = threading.Event()

    def second() -> None:
        entered.set()
        with layout.locked("four"):
            order.append("second")

    with layout.locked("four"):
        other = threading.Thread(target=second)
        other.start()
        entered.wait()
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]


def test_the_lock_goes_with_the_lab(lab: Lab, tmp_path: Path):
    """`lab down` leaves nothing behind."""
    with layout.locked("four"):
        Path(f"{lab.directory}/lab.json").unlink()
        Path(lab.directory).rmdir()
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_node(lab: Lab):
    """DIR/n<i>/{corosync.conf,authkey,identity.key,state/}: secrets 0600, one cluster key, one identity each."""
    files.write(lab)
    for ident in lab.ids:
        place = Path(lab.node_dir(ident))
        assert {entry.name for entry in place.iterdir()} == {"corosync.conf", "authkey", "identity.key", "state"}
        for secret in ("authkey", "identity.key"):
            assert (place / secret).stat().st_mode & 0o777 == 0o600
        assert (place / "authkey").read_bytes() == Path(lab.node_dir(1), "authkey").read_bytes()
        assert (place / "corosync.conf").read_bytes() == Path(lab.node_dir(1), "corosync.conf").read_bytes()
    assert len({Path(lab.node_dir(ident), "identity.key").read_bytes() for ident in lab.ids}) == 4
    assert len(Path(lab.node_dir(1), "authkey").read_bytes()) == files.AUTHKEY_BYTES


def test_the_configuration_is_one_the_daemon_takes(lab: Lab):
    """Parsed by clusterd's own parser: nodes, votes, addresses, identities, ports, MTU."""
    from clusterd.config.schema import Who, load

    lab.settings = ["totem.token=1500", "totem.interface.1.knet_link_priority=7", "quorum.wait_for_all=1"]
    identities = {ident: bytes([ident]) * 32 for ident in lab.ids}
    config = load(files.configuration(lab, identities).encode(), Who(node="n2"), "corosync.conf")
    transport = config.transport
    assert (transport.me, transport.cluster_name, transport.mtu_cap) == (2, "four", 1500)
    assert {ident: node.votes for ident, node in transport.nodes.items()} == {1: 1, 2: 1, 3: 1, 4: 2}
    assert transport.nodes[3].addresses == {0: "127.77.0.3", 1: "127.77.1.3"}
    assert transport.nodes[3].identity == identities[3]
    assert {link: one.port for link, one in transport.links.items()} == {0: 5405, 1: 5406}
    assert (transport.totem.token, transport.links[1].priority) == (1.5, 7)


def test_settings_go_where_they_belong(lab: Lab):
    """--set SECTION.KEY=VALUE over the lab's own lines, into interfaces, and into sections of their own."""
    lab.settings = [
        "totem.link_mode=active",
        "totem.interface.0.knet_pong_count=3",
        "system.sched_rr=no",
        "logging.debug=on",
    ]
    text = files.configuration(lab, {ident: bytes(32) for ident in lab.ids})
    assert "    link_mode: active\n" in text
    assert "link_mode: passive" not in text
    assert "        mcastport: 5405\n        knet_pong_count: 3\n    }" in text
    assert "system {\n    sched_rr: no\n}" in text
    assert "logging {\n    to_stderr: yes\n    debug: on\n}" in text


@pytest.mark.parametrize(
    "line", ["token=1", "totem.token", ".token=1", "totem.=1", "totem.x={", "a.b=c\nd", "nodelist.x=1"]
)
def test_settings_that_are_none_are_refused(line: str):
    """A lab never writes a file its daemons cannot read."""
    with pytest.raises(UsageError):
        files.Settings([line])


def test_ways_between_nodes(lab: Lab):
    """One row per direction and link."""
    assert cuts.ways_between(lab, "1", "2", None, False) == [(1, 2, 0), (1, 2, 1), (2, 1, 0), (2, 1, 1)]
    assert cuts.ways_between(lab, "1", "2,3", 1, True) == [(1, 2, 1), (1, 3, 1)]
    assert len(cuts.ways_between(lab, "all", "all", 0, False)) == 12
    assert cuts.ways_between(lab, "1,2", "all", 0, True) == [
        (1, 2, 0),
        (1, 3, 0),
        (1, 4, 0),
        (2, 1, 0),
        (2, 3, 0),
        (2, 4, 0),
    ]
    with pytest.raises(NotFound):
        cuts.ways_between(lab, "1", "2", 2, False)
    with pytest.raises(UsageError):
        cuts.ways_between(lab, "1", "1", None, False)


def test_cuts_are_kept_in_a_file_and_healed_in_part(lab: Lab):
    """Also while no node runs: they are in force when one starts."""
    cuts.change(lab, cuts.ways_between(lab, "1", "2", None, False), cut=True)
    cuts.change(lab, cuts.ways_between(lab, "all", "all", 0, False), cut=False)
    assert cuts.read(lab.cuts_file) == [{"from": 1, "to": 2, "link": 1}, {"from": 2, "to": 1, "link": 1}]
    assert json.loads(Path(lab.cuts_file).read_text()) == cuts.read(lab.cuts_file)


def test_reachability_needs_one_link_both_ways(lab: Lab):
    """What `lab start` waits for."""
    cuts.change(lab, [(1, 2, 0), (2, 1, 1), (1, 3, 0)], cut=True)
    reach = cuts.reachable(lab, [1, 2, 3])
    assert reach == {1: {1, 3}, 2: {2, 3}, 3: {1, 2, 3}}


def test_the_first_free_base_is_taken():
    """Addresses somebody uses, bases of stopped labs and bases being taken right now are left out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used:
        used.bind(("127.240.1.2", 5406))
        with ports.free_base(None, 3, 2, set(range(77, 240))) as base:
            assert base == 241
            with ports.free_base(None, 3, 2, set(range(77, 240))) as other:
                assert other == 242
        with pytest.raises(Conflict), ports.free_base(240, 3, 2, set()):
            pass
        with (
            pytest.raises(Failed, match="no free addresses"),
            ports.free_base(None, 3, 2, {*range(77, 240), *range(241, 255)}),
        ):
            pass
    with pytest.raises(Conflict), ports.free_base(241, 3, 2, {241}):
        pass


def test_labs_belong_to_their_user():
    """DIR: /var/tmp/clusterd-lab-UID/NAME."""
    assert layout.home("default") == f"/var/tmp/clusterd-lab-{os.geteuid()}/default"
