"""`galley command`: from the operator's words to the node, against a real endpoint whose document asks for two."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from agents.contracts.codec import decode
from agents.contracts.command import Command, SignedCommand, Verb
from agents.core.command_verify import CommandKeys, CommandRefused, sign_command, verify_command
from agents.core.jose import SoftwareKey, thumbprint
from cloud_endpoint import keyfile
from cloud_endpoint.cli import __main__ as cli
from cloud_endpoint.cli import client
from cloud_endpoint.cli.command import asked, file
from tests.integration.endpoint.signing_kit import Token, galley, ssh_agent
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient


class Said(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def rows(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)


class Desk:
    """Two operators' desk: their profile, keys, and the endpoint they speak to."""

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        self.endpoint, self.folder = endpoint, folder
        self.ann, self.ben = folder / "ann.json", folder / "ben.json"
        for path in (self.ann, self.ben):
            keyfile.create(path, SoftwareKey.generate("Ed25519"))
        self.flags = [
            *("--url", endpoint.url, "--issuer", endpoint.issuer, "--ca-file", str(endpoint.ca_file)),
            *("--operator", "demo", "--key-file", str(endpoint.operator_key_file)),
        ]

    async def run(self, *words: str | Path) -> Said:
        """`galley WORDS --output json`, in this process."""
        out, err = io.StringIO(), io.StringIO()

        def call() -> int:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                return cli.main([*self.flags, *map(str, words), "--output", "json"])

        status = await asyncio.to_thread(call)
        return Said(status, out.getvalue(), err.getvalue())

    def keys(self, threshold: int = 2) -> CommandKeys:
        """What a node believes."""
        public = [self.endpoint.key(path).public for path in (self.ann, self.ben)]
        return CommandKeys(operators={thumbprint(one): one for one in public}, threshold=threshold)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    limits = {"source_rate": 1000, "source_burst": 5000, "client_rate": 1000, "client_burst": 5000}
    endpoint = Endpoint(tmp_path_factory.mktemp("commands"), limits=limits)
    endpoint.start()
    try:
        one = Desk(endpoint, endpoint.folder)
        document = endpoint.folder / "operators.json"
        made = ["operators", "init", "--name", "ann", "--key", one.ann, "--add", f"ben={one.ben}", "--threshold", "2"]
        for words in ([*made, "--out", document], ["operators", "push", document]):
            done = asyncio.run(one.run(*words))
            assert done.status == 0, done.err
        yield one
    finally:
        endpoint.stop()


@pytest.fixture
async def site(desk: Desk) -> AsyncIterator[tuple[str, list[EndpointClient]]]:
    """A site and its three nodes, each with a challenge."""
    name = f"store-{secrets.token_hex(4)}"
    async with contextlib.AsyncExitStack() as stack:
        operator = await stack.enter_async_context(desk.endpoint.operator())
        await operator.put_site(name)
        nodes = []
        for number in range(3):
            device = await stack.enter_async_context(desk.endpoint.client("", SoftwareKey.generate()))
            hardware = f"{name}-{number}"
            await device.enrol(hardware, await operator.ship(hardware, name, f"node-{number}"))
            await tell(device, {"kind": "challenge", "challenge": secrets.token_urlsafe(16), "expires": later()})
            nodes.append(device)
        yield name, nodes


def later() -> int:
    return int(time.time()) + 3600


async def tell(device: EndpointClient, body: dict[str, Any]) -> None:
    message = {"seq": 1, "t": int(time.time() * 1000), "m": body}
    ingest = {"v": 1, "stream": "commander", "run": secrets.token_hex(8), "messages": [message]}
    assert (await device.call("POST", "/v1/ingest", ingest, scope="command:read"))["rejected"] == []


async def fetched(device: EndpointClient) -> list[SignedCommand]:
    got = await device.call("GET", "/v1/commands?after=0", scope="command:read")
    return [decode(json.dumps(one), SignedCommand) for one in got["commands"]]


def judged(signed: SignedCommand, keys: CommandKeys, site: str) -> Command:
    """As the node judges it, its challenge aside."""
    said = file.read_command(signed)
    return verify_command(signed, keys, site=site, node=said.node, now=int(time.time()), after=0, challenges=None)


async def test_a_wipe_from_the_operators_words_to_the_nodes_answer(
    desk: Desk, site: tuple[str, list[EndpointClient]], tmp_path: Path
) -> None:
    name, (node, *_) = site
    out = tmp_path / "wipe.json"
    words = ["wipe", node.name, "--target", "var", "--target", "conf", "--arg", "reason=moved house", "--yes"]
    signed = await desk.run("command", "sign", *words, "--key", desk.ann, "-o", out)
    (row,) = signed.rows
    assert (row["node"], row["site"], row["targets"], row["needs"]) == (node.name, name, ["var", "conf"], "")
    assert f"wipe of var, conf at {node.name} of site {name} with reason=moved house" in signed.err
    assert "the site is what the endpoint says of the node" in signed.err
    assert "erased for good: var (cluster state, images, volumes), conf" in signed.err
    assert out.stat().st_mode & 0o777 == 0o600
    assert json.loads(out.read_text())["kind"] == "galley-signed-commands"
    assert (await desk.run("command", "show", out)).rows[0]["id"] == row["id"]
    assert [one["result"] for one in (await desk.run("command", "send", out)).rows] == ["sent"]
    again = (await desk.run("command", "send", out)).rows
    assert [(one["result"], one["command_id"]) for one in again] == [("sent before", row["id"])]
    (got,) = await fetched(node)
    assert judged(got, desk.keys(), name).targets == ["var", "conf"]
    waiting = (await desk.run("command", "status", "--id", row["id"])).rows
    assert [one["state"] for one in waiting] == ["waiting"]
    result = {"kind": "command-result", "command_id": row["id"], "verb": "wipe", "outcome": "done", "detail": "erased"}
    waits = asyncio.create_task(desk.run("command", "status", node.name, "--wait"))
    await tell(node, result)
    assert [(one["state"], one["detail"]) for one in (await waits).rows] == [("done", "erased")]
    assert [one["state"] for one in (await desk.run("command", "status", "--site", name)).rows] == ["done"]


async def test_a_site_is_wiped_with_two_operators_signatures_and_the_arg_that_says_so(
    desk: Desk, site: tuple[str, list[EndpointClient]], tmp_path: Path
) -> None:
    name, nodes = site
    out = tmp_path / "all.json"
    words = ["command", "sign", "wipe", "--site", name, "--target", "var", "--key", desk.ann, "-o", out, "--yes"]
    refused = await desk.run(*words)
    assert (refused.status, out.exists()) == (2, False)
    assert "--arg rebuild=yes, which sets the quorum aside. The site's cluster ends" in refused.err
    signed = await desk.run(*words, "--arg", "rebuild=yes")
    assert {row["node"] for row in signed.rows} == {node.name for node in nodes}
    assert "1 more operator must sign: a rebuild of the whole site sets its quorum aside" in signed.err
    assert f": galley command sign --add {out} --key KEY" in signed.err
    early = await desk.run("command", "send", out)
    assert (early.status, early.err.count("1 more operator must sign")) == (2, 3)
    assert await fetched(nodes[0]) == []
    twice = await desk.run("command", "sign", "--add", out, "--key", desk.ann, "--yes")
    assert (twice.status, twice.err.count("this key has signed already")) == (2, 3)
    before = file.read(out)
    added = await desk.run("command", "sign", "--add", out, "--key", desk.ben, "--yes")
    assert [len(row["signed_by"]) for row in added.rows] == [2, 2, 2]
    assert f"signed before by {thumbprint(desk.endpoint.key(desk.ann).public)}" in added.err
    assert "this belongs to a rebuild of the whole site" in added.err
    assert [signed.payload for _, signed in file.read(out)] == [signed.payload for _, signed in before]
    assert out.stat().st_mode & 0o777 == 0o600
    assert [one["result"] for one in (await desk.run("command", "send", out)).rows] == ["sent"] * 3
    for node in nodes:
        (got,) = await fetched(node)
        assert judged(got, desk.keys(), name).args == {"rebuild": "yes"}
        alone = msgspec.structs.replace(got, signatures=got.signatures[:1])
        with pytest.raises(CommandRefused, match="needs 2 operator signatures"):
            judged(alone, desk.keys(), name)


async def test_keys_of_an_agent_and_of_a_token_sign_one_command_together(
    desk: Desk, site: tuple[str, list[EndpointClient]], tmp_path: Path
) -> None:
    name, (node, *_) = site
    token = Token(tmp_path, "ops")
    token.add("ben", "01")
    with ssh_agent(tmp_path) as agent:
        both = {**agent.environ, **token.environ}
        in_agent, on_token = f"ssh-agent:{agent.add('ann@ops')}", token.uri("object=ben")
        out = tmp_path / "retire.json"
        words = ["retire", node.name, "--target", "ident", "--yes", "-o", out, "--key", in_agent]
        done = await asyncio.to_thread(galley, *desk.flags, "command", "sign", *words, **both)
        assert done.returncode == 0, done.stderr
        done = await asyncio.to_thread(galley, "command", "sign", "--add", out, "--key", on_token, "--yes", **both)
        assert done.returncode == 0, done.stderr
        keys = [
            json.loads((await asyncio.to_thread(galley, "operators", "public", "--key", key, **both)).stdout)
            for key in (in_agent, on_token)
        ]
    ((_, signed),) = file.read(out)
    believed = CommandKeys(operators={thumbprint(one): one for one in keys}, threshold=2)
    assert judged(signed, believed, name).verb is Verb.RETIRE
    # The endpoint's document has neither key: its answer is the row's, and the exit status says that it was not sent.
    refused = await desk.run("command", "send", out)
    assert (refused.status, json.loads(refused.out)[0]["result"]) == (1, "refused")
    assert "signature: signed by an unknown key" in json.loads(refused.out)[0]["detail"]


async def test_a_key_on_a_token_becomes_an_operators_command_key(desk: Desk, tmp_path: Path) -> None:
    token = Token(tmp_path, "ops")
    token.add("cid", "01")
    words = ["operator", "add", "cid", "--key-out", tmp_path / "cid.json", "--command-key", token.uri("object=cid")]
    done = await asyncio.to_thread(galley, *desk.flags, *words, "--output", "json", **token.environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "cid"
    refused = await desk.run(*words, "--command-key-out", tmp_path / "other.json")
    assert (refused.status, "exclude each other" in refused.err) == (1, True)


async def test_all_that_is_wrong_with_a_command_line_is_said_at_once(desk: Desk, tmp_path: Path) -> None:
    taken = tmp_path / "taken.json"
    taken.touch()
    words = ["wipe", "node-1", "--target", "/dev/sda", "--arg", "force", "--arg", "x=1", "--valid", "2d", "-o", taken]
    said = await desk.run("command", "sign", *words, "--key", tmp_path / "none.json")
    assert said.status == 2
    assert said.err.splitlines() == [
        f"galley: 'node-1' is no node id: {asked.NODE_IDS}",
        "galley: --arg 'force' is not KEY=VALUE",
        "galley: --valid must be such as 30m or 2h, and at most 24h",
        "galley: wipe takes var, conf, keep, not '/dev/sda'",
        "galley: wipe takes no arg 'x', only reason, rebuild, snapshot",
        f"galley: --key: {tmp_path}/none.json: cannot be read: No such file or directory",
        f"galley: {taken}: exists already",
    ]
    none = await desk.run("command", "sign")
    assert none.err.splitlines()[1:] == [
        f"galley: NODE or --site is needed: {asked.NODE_IDS}, `galley site list` the sites",
        "galley: --key KEY is needed: a key file, ssh-agent:COMMENT or a pkcs11: URI",
        "galley: -o FILE is needed: where the signed commands go",
    ]
    status = await desk.run("command", "status", "x", "--id", "y")
    assert (status.status, len(status.err.splitlines())) == (2, 3)


async def test_what_the_endpoint_cannot_give_is_said_for_each_node(
    desk: Desk, site: tuple[str, list[EndpointClient]], tmp_path: Path
) -> None:
    name, (one, two, _) = site
    asked = await desk.run("command", "ask", "sync", one.name, two.name)
    assert [(row["node"], row["result"]) for row in asked.rows] == [(one.name, "sent"), (two.name, "sent")]
    unknown = "n-" + "a" * 16
    words = ["rejoin", one.name, two.name, unknown, "--key", desk.ann, "--yes", "-o", tmp_path / "no.json"]
    said = await desk.run("command", "sign", *words)
    assert (said.status, (tmp_path / "no.json").exists()) == (1, False)
    assert f"{unknown}: no such node" in said.err
    assert f"{one.name} has no challenge to sign" in said.err
    assert f"{two.name} has no challenge to sign" in said.err
    elsewhere = await desk.run("command", "sign", *words[:2], "--site", "store-elsewhere", *words[4:])
    assert f"{one.name} is of site {name}, says the endpoint, not of store-elsewhere" in elsewhere.err
    again = await desk.run("command", "ask", "reboot", "--site", name)
    results = {row["node"]: row["result"] for row in json.loads(again.out)}
    assert (again.status, [results[node.name] for node in site[1]]) == (1, ["refused", "refused", "sent"])
    person = await desk.run("command", "ask", "wipe", one.name, "--arg", "rebuild=yes")
    assert (person.status, person.err) == (2, "galley: wipe needs an operator's signature: galley command sign\n")


async def test_an_expired_file_is_neither_sent_nor_signed(desk: Desk, tmp_path: Path) -> None:
    now, out = int(time.time()), tmp_path / "old.json"
    commands = [
        Command(
            id=secrets.token_hex(16),
            verb=Verb.REJOIN,
            site="store-1",
            node=f"n-{letter * 16}",
            sequence=1,
            challenge="c",
            issued=now - 7200,
            expires=now - 3600 * number,
        )
        for number, letter in enumerate("ab")
    ]
    file.write(out, [sign_command(one, [desk.endpoint.key(desk.ann)]) for one in commands])
    for words in (["send", out], ["sign", "--add", out, "--key", desk.ben, "--yes"]):
        said = await desk.run("command", *words)
        assert (said.status, said.err.count("has expired, sign anew")) == (2, 2)


async def test_a_person_is_asked_on_a_terminal_and_a_script_must_say_yes(
    desk: Desk, site: tuple[str, list[EndpointClient]], tmp_path: Path
) -> None:
    _, (node, *_) = site
    out = tmp_path / "rejoin.json"
    words = [*desk.flags, "command", "sign", "rejoin", node.name, "--key", str(desk.ann), "-o", str(out)]
    script = await asyncio.to_thread(galley, *words)
    assert (script.returncode, out.exists()) == (1, False)
    assert "no terminal to ask on, and no --yes" in script.stderr
    for answer, status in (("no\n", 1), ("yes\n", 0)):
        done = await asyncio.to_thread(on_terminal, words, answer)
        assert (done.returncode, out.exists()) == (status, status == 0)
        assert f"rejoin at {node.name}" in done.stderr
        assert "Type yes to sign: " in done.stderr


def test_ctrl_c_at_the_question_ends_it_and_signs_nothing(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "more.json"
    now = int(time.time())
    fields = {"verb": Verb.REJOIN, "site": "store-1", "node": "n-" + "a" * 16, "sequence": 1, "challenge": "c"}
    command = Command(id="0" * 32, issued=now, expires=now + 600, **fields)  # type: ignore[arg-type]
    file.write(out, [sign_command(command, [desk.endpoint.key(desk.ann)])])
    before = out.read_bytes()
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "cloud_endpoint.cli", "command", "sign", "--add", str(out), "--key", str(desk.ben)]
    with subprocess.Popen(words, stdin=theirs, stderr=subprocess.PIPE) as asked:
        assert asked.stderr is not None
        said = b""
        while not said.endswith(b"Type yes to sign: "):
            said += asked.stderr.read(1)
        asked.send_signal(signal.SIGINT)
        assert asked.wait(60) == 130
    os.close(ours)
    os.close(theirs)
    assert out.read_bytes() == before


async def test_a_command_is_found_by_its_id_by_who_may_see_its_site(
    desk: Desk, site: tuple[str, list[EndpointClient]], tmp_path: Path
) -> None:
    name, (node, *_) = site
    (asked,) = (await desk.run("command", "ask", "sync", node.name)).rows
    by_id = ["command", "status", "--id", asked["command_id"]]
    for who, seen in ((name, 0), (f"{name}-other", 1)):
        await desk.run("site", "add", who)
        key = tmp_path / f"{who}.json"
        made = await desk.run("operator", "add", who, "--key-out", key, "--site", who)
        assert made.status == 0, made.err
        as_who = await desk.run("--operator", who, "--key-file", key, *by_id)
        assert as_who.status == seen, as_who.err
    assert "no such command, or not yours" in (await desk.run(*by_id[:-1], "0" * 32)).err
    assert "has no node, or is none" in (await desk.run("command", "status", "--site", "store-none")).err


async def test_a_login_is_made_anew_before_its_token_ends(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "RENEW_SECONDS", 0.0)
    logins = []
    login = client.Client._login

    async def counted(self: client.Client) -> None:
        logins.append(1)
        await login(self)

    monkeypatch.setattr(client.Client, "_login", counted)
    assert (await desk.run("command", "status", "--site", "store-none")).status == 1
    assert (await desk.run("command", "ask", "sync", "--site", "store-none")).status == 1
    before = len(logins)
    said = await desk.run("command", "ask", "sync", "n-" + "a" * 16, "n-" + "b" * 16)
    assert (said.status, len(logins) - before) == (1, 2)


def on_terminal(words: list[str], answer: str) -> subprocess.CompletedProcess[str]:
    ours, theirs = os.openpty()
    try:
        os.write(ours, answer.encode())
        command = [sys.executable, "-m", "cloud_endpoint.cli", *words]
        return subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
    finally:
        os.close(ours)
        os.close(theirs)


async def test_waiting_ends_with_three_where_a_command_was_not_done(
    desk: Desk, site: tuple[str, list[EndpointClient]]
) -> None:
    name, nodes = site
    asked = (await desk.run("command", "ask", "snapshot", "--site", name)).rows
    waits = asyncio.create_task(desk.run("command", "status", "--site", name, "--wait"))
    by_name = {node.name: node for node in nodes}
    for row, outcome in zip(asked, ("done", "failed", "done"), strict=True):
        result = {"kind": "command-result", "command_id": row["command_id"], "verb": "snapshot", "detail": ""}
        await tell(by_name[row["node"]], {**result, "outcome": outcome})
    said = await waits
    assert said.status == 3
    assert sorted(row["state"] for row in json.loads(said.out)) == ["done", "done", "failed"]


def test_an_endpoint_that_cannot_be_reached_is_named(desk: Desk, tmp_path: Path) -> None:
    gone = [*desk.flags, "--url", "https://127.0.0.1:1"]
    done = galley(*gone, "command", "status", "n-" + "a" * 16)
    assert (done.returncode, "https://127.0.0.1:1: " in done.stderr) == (1, True)
