"""Real keys that are no files: an ssh-agent, a token of SoftHSM. Started and taken away by the tests that use them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "pin-7391"


def run(*command: str | Path, answers: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """A program, with these variables beside the test's own."""
    return subprocess.run(
        [*map(str, command)],
        input=answers,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environ},
    )


def galley(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The `galley` command."""
    return run(sys.executable, "-m", "cloud_endpoint.cli", *arguments, **environ)


class SshAgent:
    """A running agent. `environ`: what its users need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {"SSH_AUTH_SOCK": str(folder / "agent.sock"), "SSH_ASKPASS_REQUIRE": "never"}

    def add(self, comment: str, kind: str = "ed25519") -> str:
        """A new key in it; answers its fingerprint."""
        file = self.folder / f"{comment}.{kind}"
        self.must("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", comment, "-f", file)
        self.must("ssh-add", "-q", file)
        return self.must("ssh-keygen", "-l", "-f", file).split()[1]

    def lock(self) -> None:
        """As `ssh-add -x` does, with a password."""
        askpass = self.folder / "askpass"
        askpass.write_text("#!/bin/sh\necho word\n")
        askpass.chmod(0o700)
        forced = {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
        done = run("ssh-add", "-x", **{**self.environ, **forced})
        assert done.returncode == 0, done.stderr

    def must(self, *command: str | Path) -> str:
        """A program that must succeed; answers what it says."""
        done = run(*command, **self.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def ssh_agent(folder: Path) -> Iterator[SshAgent]:
    """Runs an ssh-agent, in the foreground so that its end is seen."""
    one = SshAgent(folder)
    socket = Path(one.environ["SSH_AUTH_SOCK"])
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "SSH_AUTH_SOCK" in process.stdout.readline()
            yield one
        finally:
            process.terminate()
            process.wait()


class Token:
    """A token of SoftHSM with keys made in it. `environ`: what its users need."""

    def __init__(self, folder: Path, label: str) -> None:
        self.folder, self.label = folder / "tokens", label
        self.folder.mkdir()
        config = folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {self.folder}\nobjectstore.backend = file\n")
        self.environ = {"SOFTHSM2_CONF": str(config)}
        self.pin_file = folder / "pin"
        self.pin_file.touch(mode=0o600)
        self.pin_file.write_text(f"{PIN}\n")
        made = ["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "so-pin-1"]
        self._must("softhsm2-util", *made)

    def add(self, label: str, number: str, kind: str = "EC:edwards25519") -> None:
        """A key pair."""
        login = ["--module", SOFTHSM, "--token-label", self.label, "--login", "--pin", PIN]
        self._must("pkcs11-tool", *login, "--keypairgen", "--key-type", kind, "--label", label, "--id", number)

    def uri(self, key: str, *, pin_file: Path | None = None) -> str:
        """The URI of a key, such as `object=ann`."""
        return f"pkcs11:token={self.label};{key}?module-path={SOFTHSM}&pin-source=file:{pin_file or self.pin_file}"

    def take_out(self) -> None:
        """The token is gone."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def _must(self, *command: str) -> None:
        done = run(*command, **self.environ)
        assert done.returncode == 0, done.stderr
