"""What is pulled next, what is said of it, and the words that ctr is started with."""

from __future__ import annotations

import json

import pytest

from agents.contracts.images import NodeImages, WantedImages
from agents.core.errors import Rejected
from edge_commander.distribution.wire import Ask, problem
from edge_commander.images.access import image_rights
from edge_commander.images.bucket import TokenBucket
from edge_commander.images.plan import LATER, Progress, looked, patch
from edge_commander.images.request import BadRequest, Upstream, read_head, upstream_of
from edge_commander.images.runtime import Fault, Runtime, fault_of, quoted, runtime_of
from edge_commander.images.settings import PrepullSettings
from edge_commander.settings import DistributionSettings

A, B, C = (f"docker.io/library/{name}:1" for name in "abc")
WANTED = WantedImages(revision="r1", images=[A, B, C])


def test_a_bucket_holds_its_rate_over_any_time_and_owes_what_was_taken_too_early() -> None:
    now, rate = 50.0, 1000.0
    bucket, passed = TokenBucket(rate, 250, now), 0
    for count in (100, 700, 4096, 1, 65536, 10) * 50:
        passed += count
        now += bucket.take(count, now)
        assert passed <= 250 + rate * (now - 50.0) + 1e-6
    assert passed >= rate * (now - 50.0)
    assert bucket.take(250, now + 3600) == 0, "a pause gives the burst"
    assert bucket.take(1, now + 3600) == pytest.approx(0.001), "and no more"
    assert bucket.take(1, now) == pytest.approx(0.002), "a clock that went back gives nothing"


def test_images_come_in_order_failed_ones_last_and_each_in_its_time() -> None:
    one = looked(None, WANTED, frozenset({B}))
    assert (one.next(0.0), one.said().missing) == (A, 2)
    one = one.failed(A, "no line", 0.0)
    assert (one.next(0.0), one.pause(0.0, 10.0)) == (C, 5.0)
    one = one.pulled(C, done=True, fetched=7, now=0.0)
    assert (one.next(4.9), one.next(5.0)) == (None, A)
    one = one.failed(A, "no line", 5.0)
    assert one.next(14.9) is None and one.next(15.0) == A, "twice as long"
    assert one.said() == NodeImages(revision="r1", missing=1, failed={}, fetched=7)
    one = one.pulled(A, done=True, fetched=3, now=15.0)
    assert one.next(1e9) is None and one.said() == NodeImages(revision="r1", missing=0, fetched=10)


def test_what_cannot_be_had_is_said_and_not_waited_for() -> None:
    one = looked(None, WANTED, frozenset({B, C})).failed(A, "needs a pull secret", 0.0, final=True)
    assert one.said() == NodeImages(revision="r1", missing=0, failed={A: "needs a pull secret"})
    assert one.next(LATER - 1) is None and one.next(LATER) == A
    assert looked(one, WANTED, frozenset({A, B, C})).said().failed == {}, "it came by another way"
    assert looked(one, WantedImages(revision="r2", images=[A]), frozenset()).next(0.0) == A, "another commit, at once"


def test_a_try_whose_time_is_over_goes_on_at_once_unless_nothing_came() -> None:
    one = looked(None, WANTED, frozenset({B, C}))
    assert one.pulled(A, done=False, fetched=5, now=0.0).next(0.0) == A
    assert one.pulled(A, done=False, fetched=0, now=0.0).next(0.0) is None


def test_what_is_no_whole_name_is_never_asked_of_the_root_half() -> None:
    wanted = WantedImages(revision="r", images=["--all-platforms", "nginx", "a b", A])
    assert Progress(wanted).images == [A] and Progress(wanted).said().missing == 1


def test_the_patch_is_our_line_and_an_end_to_nodes_that_are_no_more() -> None:
    said = NodeImages(revision="r1")
    lines = {"nuc-1": "x", "nuc-2": "x", "gone": "x"}
    made = patch("nuc-1", said, lines, frozenset({"nuc-1", "nuc-2"}))
    assert made["gone"] is None and set(made) == {"gone", "nuc-1"}
    assert json.loads(made["nuc-1"] or "")["revision"] == "r1"
    assert set(patch("nuc-1", said, lines, frozenset())) == {"nuc-1"}, "unknown members: nobody is struck out"


@pytest.mark.parametrize(
    ("argument", "well"),
    [(A, True), ("nginx", False), ("", False), ("--help", False), (f"{A} {B}", False), (f"{A}\n", False),
     ("docker.io/library/../x:1", False), ("docker.io/Library/x:1", False), (f"docker.io/a/b@sha256:{'0' * 64}", True),
     (f"docker.io/a/b:1@sha256:{'0' * 64}", False)],
)  # fmt: skip
def test_the_root_half_takes_one_whole_name_and_nothing_else(argument: str, well: bool) -> None:
    assert (problem(Ask(operation="pull", argument=argument)) == "") is well
    assert problem(Ask(operation="images")) == "" and problem(Ask(operation="images", argument="x"))


def test_ctr_is_told_where_its_containerd_is_by_the_distribution() -> None:
    settings = PrepullSettings()
    kubeadm = runtime_of(DistributionSettings(kind="kubeadm"), settings)
    assert kubeadm.pull(A, local=False) == [
        "nice", "-n", "19", "ionice", "-c", "3", "ctr", "--address", "/run/containerd/containerd.sock", "--namespace",
        "k8s.io", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d", A,
    ]  # fmt: skip
    k3s = runtime_of(DistributionSettings(kind="k3s"), PrepullSettings(hosts_dir="/h"))
    assert k3s.ctr[:4] == ("/usr/local/bin/k3s", "ctr", "--address", "/run/k3s/containerd/containerd.sock")
    assert (k3s.hosts, k3s.folder) == ("/h", "/var/lib/rancher/k3s/agent/containerd")
    assert "--local" in k3s.pull(A, local=True)
    with pytest.raises(Rejected):
        runtime_of(DistributionSettings(), settings)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ('ctr: failed to resolve reference "x": docker.io/a:2: not found', Fault.ABSENT),
        ("ctr: pull access denied, repository does not exist or may require authorization", Fault.SECRET),
        ('ctr: failed to fetch anonymous token: unexpected status: 401 Unauthorized', Fault.SECRET),
        ("ctr: unexpected commit digest sha256:0, expected sha256:1: failed precondition", Fault.DAMAGED),
        ("ctr: write /var/lib/containerd/x: no space left on device", Fault.FULL),
        ("ctr: dial tcp 192.0.2.1:443: connect: connection refused", Fault.OTHER),
        ("ctr: dial tcp: lookup r.example on 192.0.2.53:53: no such host", Fault.OTHER),
    ],
)  # fmt: skip
def test_what_ctr_says_is_understood(said: str, fault: Fault) -> None:
    assert fault_of(said) is fault


def test_no_signed_address_is_repeated() -> None:
    text = 'first\nctr: Get "https://cdn.example/blob?X-Amz-Signature=abc&e=1": EOF\n'
    assert quoted(text) == 'Get "https://cdn.example/blob?...": EOF'
    assert quoted("") == "no word"


def test_the_runtime_collects_by_ending_a_lease_at_once() -> None:
    create, delete = Runtime(("ctr",), "/c", "/h").collect
    assert create[-1] == "1m" and delete == ["ctr", "leases", "delete", "--sync", "galley-collect"]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("CONNECT r.example:443 HTTP/1.1", ("r.example", 443, True)),
        ("CONNECT [::1]:5000 HTTP/1.1", ("::1", 5000, True)),
        ("GET http://r.example/v2/ HTTP/1.1", ("r.example", 80, False)),
        ("GET http://r.example:5000/v2/?a=b HTTP/1.1", ("r.example", 5000, False)),
    ],
)
def test_both_forms_of_a_proxys_request_are_read(head: str, expected: tuple[str, int, bool]) -> None:
    found = read_head(f"{head}\r\nProxy-Authorization: Basic eA==\r\nHost: x\r\n\r\n".encode())
    assert (found.host, found.port, found.tunnel) == expected and found.authorization == "Basic eA=="
    assert b"roxy-" not in found.forwarded(None) and b"Connection: close" in found.forwarded(None)


@pytest.mark.parametrize(
    "head",
    ["GET / HTTP/1.1", "GET https://x/ HTTP/1.1", "GET ftp://x/ HTTP/1.1", "CONNECT x:99999 HTTP/1.1", "x",
     "GET http://x/ SPDY/3", "CONNECT u@x:443 HTTP/1.1", "CONNECT  HTTP/1.1", "GET http:/// HTTP/1.1"],
)  # fmt: skip
def test_other_requests_are_refused(head: str) -> None:
    with pytest.raises(BadRequest):
        read_head(f"{head}\r\n\r\n".encode())


def test_the_nodes_own_proxy_is_used_for_what_it_is_meant_for() -> None:
    assert upstream_of({}) is None and upstream_of({"HTTPS_PROXY": "socks5://x:1"}) is None
    found = upstream_of({"https_proxy": "http://u:p%40ss@proxy.example:3128", "NO_PROXY": "lan.example, 10.0.0.0/8"})
    assert found is not None and (found.host, found.port) == ("proxy.example", 3128)
    assert found.authorization == "Basic dTpwQHNz" and "dTpwQHNz" not in repr(found)
    assert [found.serves(host, 443) for host in ("r.lan.example", "lan.example", "10.1.2.3")] == [False] * 3
    assert all(found.serves(host, 443) for host in ("r.example", "xlan.example", "192.0.2.1"))
    head = read_head(b"GET http://r.example/x HTTP/1.1\r\nHost: r.example\r\nProxy-Authorization: Basic ours\r\n\r\n")
    sent = head.forwarded(found)
    assert sent.startswith(b"GET http://r.example/x HTTP/1.1\r\n") and b"ours" not in sent and b"dTpwQHNz" in sent
    assert found.connect(read_head(b"CONNECT r.example:443 HTTP/1.1\r\n\r\n")).startswith(b"CONNECT r.example:443 ")
    assert Upstream("x", 1, never=("*",)).serves("anything", 443) is False


def test_the_commander_may_write_one_config_map_and_read_one() -> None:
    (path, body), (_, role), (_, binding) = image_rights("galley-commander")
    assert path == "/api/v1/namespaces/galley-system/configmaps/galley-node-images" and "data" not in body
    assert [(rule["resourceNames"], rule["verbs"]) for rule in role["rules"]] == [
        (["galley-images"], ["get"]),
        (["galley-node-images"], ["get", "patch"]),
    ]
    assert binding["subjects"][0]["name"] == "galley-commander"
