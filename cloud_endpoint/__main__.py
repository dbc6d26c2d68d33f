"""`galley-endpoint`: the daemon, and the few commands that work on its own files: make-certs, operator add, openapi."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from agents.supervise.context import DaemonSpec
from agents.supervise.daemon import run_daemon
from cloud_endpoint.build import build
from cloud_endpoint.check import check
from cloud_endpoint.local import COMMANDS, run_local
from cloud_endpoint.settings import EndpointOwn

NAME = "galley-endpoint"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1, or 78 for a wrong configuration."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in COMMANDS:
        return run_local(NAME, arguments)
    spec = DaemonSpec(NAME, "cloud_endpoint", EndpointOwn, build, check, COMMANDS)
    return run_daemon(spec, arguments)


if __name__ == "__main__":
    sys.exit(main())
