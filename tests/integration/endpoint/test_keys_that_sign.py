"""`--key` of `galley`: real keys in an ssh-agent and on a token sign what the suite verifies, and what goes wrong."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.contracts.codec import decode
from agents.contracts.signed import SignedDocument
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey
from agents.core.operators import first_operators, next_operators
from cloud_endpoint import keyfile
from cloud_endpoint.signing.keys import operators_key
from tests.integration.endpoint.signing_kit import PIN, SshAgent, Token, galley, ssh_agent


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[SshAgent]:
    with ssh_agent(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    one = Token(tmp_path_factory.mktemp("token"), "ops")
    one.add("ann", "01")
    one.add("twice", "02")
    one.add("twice", "03")
    one.add("old", "04", "rsa:2048")
    return one


def refusal(key: str, **environ: str) -> str:
    """What is said where a key cannot sign."""
    done = galley("epoch", "authorise", "store-1", "--epoch", "2", "--key", key, **environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert PIN not in done.stderr
    return done.stderr.removeprefix("galley: ").strip()


def test_keys_of_agent_and_token_sign_operators_documents_of_any_length(
    agent: SshAgent, token: Token, tmp_path: Path
) -> None:
    both = {**agent.environ, **token.environ}
    in_agent, on_token = f"ssh-agent:{agent.add('ann@ops')}", token.uri("object=ann")
    more = []
    for number in range(12):  # longer than the 1024 bytes that a buffer somewhere holds
        file = tmp_path / f"{number}.json"
        keyfile.create(file, SoftwareKey.generate("Ed25519"))
        more += ["--add", f"operator-{number}={file}"]
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    done = galley("operators", "init", "--name", "ann", "--key", in_agent, *more, "--out", first, **both)
    assert done.returncode == 0, done.stderr
    shown = galley("operators", "public", "--key", on_token, **both)
    (tmp_path / "token.json").write_text(shown.stdout)
    added = ["--name", "ben", "--public", tmp_path / "token.json", "--key", in_agent, "--out", second]
    done = galley("operators", "add", first, *added, **both)
    assert done.returncode == 0, done.stderr
    before = first_operators(decode(first.read_bytes(), SignedDocument))
    after = next_operators(before, decode(second.read_bytes(), SignedDocument))
    assert {one.name for one in after.keys.values()} >= {"ann", "ben"}
    third = tmp_path / "third.json"
    done = galley("operators", "remove", second, "--name", "ann", "--key", on_token, "--out", third, **both)
    assert done.returncode == 0, done.stderr
    assert next_operators(after, decode(third.read_bytes(), SignedDocument)).generation == 3


def test_a_key_in_the_agent_is_found_by_its_comment_and_an_epoch_authorised_with_it(agent: SshAgent) -> None:
    agent.add("ann@ops")
    done = galley("epoch", "authorise", "s-1", "--epoch", "2", "--key", "ssh-agent:ann@ops", **agent.environ)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["signatures"]) == 1


@pytest.fixture
def asked(agent: SshAgent, monkeypatch: pytest.MonkeyPatch) -> SshAgent:
    """The agent, asked from this process."""
    monkeypatch.setenv("SSH_AUTH_SOCK", agent.environ["SSH_AUTH_SOCK"])
    return agent


def cause(key: str) -> str:
    with pytest.raises(Rejected) as refused:
        operators_key(key)
    return str(refused.value)


def test_what_is_wrong_with_an_agent_is_named(asked: SshAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = asked.environ["SSH_AUTH_SOCK"]
    none = f"ssh-agent:ann: the agent at {path} shows no key: it has none, or it is locked (`ssh-add -X`)"
    assert cause("ssh-agent:ann") == none
    fingerprint = asked.add("old@ops", "rsa")
    wrong = f"ssh-agent:{fingerprint}: is of the kind ssh-rsa: only ssh-ed25519 signs here"
    assert cause(f"ssh-agent:{fingerprint}") == wrong
    missing = f"ssh-agent:ann: the agent has no such key; it has old@ops (ssh-rsa, {fingerprint})"
    assert cause("ssh-agent:ann") == missing
    assert "names no key" in cause("ssh-agent:")
    asked.add("ann")
    key = operators_key("ssh-agent:ann")
    assert len(key.sign(b"message")) == 64
    asked.lock()
    assert cause("ssh-agent:ann") == none
    with pytest.raises(Rejected, match="the agent does not sign with it: locked, taken out, or not confirmed"):
        key.sign(b"message")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone.sock"))
    assert cause("ssh-agent:ann") == f"{tmp_path}/gone.sock: the ssh-agent cannot be asked: No such file or directory"
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert "SSH_AUTH_SOCK is not set" in cause("ssh-agent:ann")


def test_of_two_keys_with_one_comment_none_is_guessed(asked: SshAgent) -> None:
    one = asked.add("ann")
    (asked.folder / "ann.ed25519").unlink()
    other = asked.add("ann")
    said = cause("ssh-agent:ann")
    assert said.startswith("ssh-agent:ann: several keys have this comment, name one by its fingerprint: ")
    assert {one, other} == set(said.rpartition(": ")[2].split(", "))
    assert len(operators_key(f"ssh-agent:{other}").sign(b"message")) == 64


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "the ssh-agent cannot be asked: it ended the connection"),
        (b"\x00\x00\x00\x00", "what answers there is no ssh-agent"),
        (b"\xff\xff\xff\xff", "what answers there is no ssh-agent"),
        (b"\x00\x00\x00\x01\x05", "what answers there is no ssh-agent"),
        (b"\x00\x00\x00\x05\x0c\x00\x00\x00\x09", "what answers there is no ssh-agent"),
        (b"\x00\x00\x00\x05\x0c\xff\xff\xff\xff", "what answers there is no ssh-agent"),
    ],
)
def test_something_else_at_the_socket_is_no_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str
) -> None:
    path = str(tmp_path / "else.sock")
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen()

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert cause("ssh-agent:ann") == f"{path}: {said}"
        thread.join()


def test_what_is_wrong_with_a_token_is_named_and_no_pin_told(token: Token, tmp_path: Path) -> None:
    environ = token.environ
    assert "no such token: taken out?; there are: token=ops;serial=" in refusal(
        token.uri("object=ann").replace("token=ops", "token=opz"), **environ
    )
    assert refusal(token.uri("object=bob"), **environ).endswith("the token has no public key of this name")
    assert refusal(token.uri("object=twice"), **environ).endswith("several keys match: give object and id")
    assert refusal(token.uri("object=old"), **environ).endswith("is not an Ed25519 key: no other signs here")
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("000000")
    said = refusal(token.uri("object=ann", pin_file=wrong), **environ)
    assert said == "pkcs11:token=ops;object=ann: C_Login: the PIN is wrong; too many wrong ones lock the token"
    wrong.chmod(0o644)
    assert "must not be readable by others" in refusal(token.uri("object=ann", pin_file=wrong), **environ)
    without = token.uri("object=ann").partition("&")[0]
    assert "asked for on a terminal alone" in refusal(without, **environ)
    no_module = token.uri("object=ann").replace("libsofthsm2", "nothing")
    assert "the PKCS#11 module cannot be loaded" in refusal(no_module, **environ)


def test_a_token_that_was_taken_out_is_named(tmp_path: Path) -> None:
    token = Token(tmp_path, "spare")
    token.add("ann", "01")
    assert galley("operators", "public", "--key", token.uri("id=%01"), **token.environ).returncode == 0
    token.take_out()
    said = refusal(token.uri("id=%01"), **token.environ)
    assert said.startswith("pkcs11:token=spare;id=01: no such token: taken out?; there are: none")
