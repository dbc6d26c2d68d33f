"""`vessel bootstrap`: makes the namespaces, accounts and rights that Vessel needs, or prints them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Object
from agents.io.kube import Kube
from vessel import bootstrap
from vessel.bootstrap_apply import apply


def main(argv: Sequence[str]) -> int:
    """The subcommand; the exit status: 0 done, 1 refused or not reachable."""
    parser = argparse.ArgumentParser(prog="vessel bootstrap", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="an administrator's; without it: the pod's own account")
    parser.add_argument("--account", action="append", default=[], metavar="NS/NAME", help="may be impersonated too")
    parser.add_argument("--user", action="append", default=[], help="a user name that is Vessel's own")
    parser.add_argument("--print", action="store_true", dest="show", help="print the objects (JSON), change nothing")
    options = parser.parse_args(argv)
    for account in options.account:
        if account.count("/") != 1 or not all(account.split("/")):
            parser.error(f"--account {account}: must be namespace/name")
    objects = bootstrap.objects(accounts=options.account, users=options.user)
    if options.show:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
        return 0
    try:
        asyncio.run(_apply(options.kubeconfig, objects))
    except (Rejected, Retryable) as error:
        print(f"vessel bootstrap: {error}", file=sys.stderr)
        return 1
    for body in objects:
        namespace = body["metadata"].get("namespace")
        print(f"{body['kind']} {namespace + '/' if namespace else ''}{body['metadata']['name']}")
    return 0


async def _apply(kubeconfig: Path | None, objects: Sequence[Object]) -> None:
    kube = await Kube.connect(kubeconfig=kubeconfig, user_agent="galley-vessel-bootstrap")
    try:
        await apply(kube, objects)
    finally:
        await kube.aclose()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
