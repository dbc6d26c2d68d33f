"""Installs the Debian packages that `make demo` and `make test` need, where they are missing. Standard library only.

Usage: python3 tools/packages.py venv|demo|test. Exit 1 with the list when they cannot be installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

DEMO = ["git", "iproute2", "mosquitto", "python3-venv"]
TEST = [
    *DEMO,
    "attr",
    "chromium",
    "chromium-driver",
    "containerd",
    "containernetworking-plugins",
    "cryptsetup-bin",
    "docker-registry",
    "erofs-utils",
    "faketime",
    "iptables",
    "mmdebstrap",
    "opensc",
    "openssh-client",
    "openssl",
    "runc",
    "softhsm2",
    "strace",
    "swtpm",
    "systemd-container",
    "systemd-repart",
    "tpm2-tools",
    "zbar-tools",
]
GROUPS = {"venv": ["python3-venv"], "demo": DEMO, "test": TEST}
OPTIONAL = {"chromium", "chromium-driver", "systemd-repart"}
"""Where a distribution has no such package: tests that need a browser say `not run`; repart is in systemd's own."""
LISTS = Path("/var/lib/apt/lists")


def installed(package: str) -> bool:
    """True when dpkg has the package installed."""
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True, check=False
    )
    return answer.stdout == "installed"


def available(packages: Sequence[str]) -> set[str]:
    """Those that apt has a version of to install, by the lists that are here."""
    if not packages:
        return set()
    words = {**os.environ, "LC_ALL": "C"}
    asked = ["apt-cache", "policy", *packages]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, env=words)
    found, name = set(), ""
    for line in answer.stdout.splitlines():
        if not line.startswith(" "):
            name = line.removesuffix(":")
        elif line.startswith("  Candidate: ") and not line.endswith(" (none)"):
            found.add(name)
    return found


def as_root(*arguments: str) -> bool:
    """Runs a command as root, by sudo where needed."""
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    return subprocess.run([*prefix, *environment, *arguments], check=False).returncode == 0


QUIETLY = r"""
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
apt-get -qq install -y --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
"""
"""Nothing that a package brings may start a server of its own here: policy-rc.d says so while apt works."""


def main(group: str) -> int:
    """Installs what is missing of `group`; returns the exit status."""
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        print(f"this is no Debian or Ubuntu: install the equivalents of {' '.join(GROUPS[group])}", file=sys.stderr)
        return 0
    missing = [package for package in GROUPS[group] if not installed(package)]
    if not missing:
        return 0
    if told := not any(LISTS.glob("*_Packages*")):  # apt does not know what there is: nothing can be said of a package
        as_root("apt-get", "-qq", "update")
    wanted = _to_be_had(missing)
    if not wanted:
        return 0
    print(f"installing Debian packages: {' '.join(wanted)} (expected: up to 2 min)", flush=True)
    if not told:  # just now
        as_root("apt-get", "-qq", "update")
        wanted = _to_be_had(missing)
    if not as_root("sh", "-c", QUIETLY, "install", *wanted):
        print(f"cannot install them; as root: apt-get install {' '.join(wanted)}", file=sys.stderr)
        return 1
    return 0


def _to_be_had(missing: Sequence[str]) -> list[str]:
    """What is to be installed: optional ones where this distribution has them."""
    optional = available([package for package in missing if package in OPTIONAL])
    return [package for package in missing if package not in OPTIONAL or package in optional]


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in GROUPS:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
