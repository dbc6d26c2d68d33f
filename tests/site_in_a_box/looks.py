"""What a town looks like from the cloud and from its clusters: questions, and waiting until something is so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from agents.core.errors import Retryable
from agents.io.outbox import count
from tests.site_in_a_box import kube_build
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.node import Node
from tests.site_in_a_box.restaurant import Restaurant

LOOK_SECONDS = 0.2


class Looks:
    """Questions to a running town."""

    interval: float
    endpoint: Endpoint
    cloud: EndpointClient

    async def login_link(self) -> str:
        """A one-time link to the page."""
        return str((await self.cloud.call("POST", "/v1/admin/login-link"))["url"])

    async def site(self, one: Restaurant) -> dict[str, Any]:
        """All of one site, as an operator reads it."""
        return dict(await self.cloud.call("GET", f"/v1/fleet/sites/{one.site}"))

    async def reports(self, one: Restaurant, revision: str) -> list[dict[str, Any]]:
        """The newest report of each app, where it is about this revision."""
        view = await self.site(one)
        bodies = [dict(entry["body"]) for entry in view["deployments"]]
        return [body for body in bodies if body["revision"] == revision]

    async def wait_healthy(self, one: Restaurant, revision: str = "", *, seconds: float = 120) -> None:
        """Waits until each app of the Atlas is reported healthy at a revision (default: the branch's)."""
        wanted = revision or await asyncio.to_thread(one.repo.head)
        apps = await asyncio.to_thread(one.repo.apps)
        phases: dict[str, str] = {}

        async def healthy() -> bool:
            nonlocal phases
            phases = {body["app"]: body["phase"] for body in await self.reports(one, wanted)}
            return all(phases.get(app) in ("healthy", "repaired") for app in apps)

        try:
            await self.until(healthy, seconds=seconds, what=f"{one.site} healthy at {wanted[:10]}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; reported: {phases}") from None

    async def wait_refused(self, one: Restaurant, revision: str, *, seconds: float = 60) -> dict[str, Any]:
        """Waits until a revision is reported refused; returns the first problem."""
        problems: list[dict[str, Any]] = []

        async def refused() -> bool:
            for body in await self.reports(one, revision):
                if body["phase"] == "refused":
                    problems.extend(body["problems"])
            return bool(problems)

        await self.until(refused, seconds=seconds, what=f"{one.site} refuses {revision[:10]}")
        return problems[0]

    async def wait_beats(self, one: Restaurant, *, seconds: float = 60) -> None:
        """Waits until every node of a site was heard within three intervals."""

        async def beating() -> bool:
            for program in (program for node in one.nodes for program in node.daemons.values()):
                if (program.returncode or 0) > 0:
                    raise RuntimeError(f"{program.name} ended with status {program.returncode}\n{program.log_tail()}")
            view = await self.site(one)
            newest = [node["beat_ms"] or 0 for node in view["nodes"]]
            fresh = (time.time() - 3 * self.interval - 1) * 1000
            return len(newest) == one.plan.nodes and min(newest) > fresh

        await self.until(beating, seconds=seconds, what=f"{one.site}: all nodes beat")

    async def wait_synthetic(self, one: Restaurant, *, seconds: float = 60) -> None:
        """Waits until the newest window of every step of the synthetic client has successes and no failure."""
        steps: list[dict[str, Any]] = []

        async def green() -> bool:
            nonlocal steps
            steps = [entry["body"] for entry in (await self.site(one))["synthetics"]]
            return bool(steps) and all(step["ok"] and not step["failed"] for step in steps)

        try:
            await self.until(green, seconds=seconds, what=f"{one.site}: every step of the synthetic client is good")
        except TimeoutError as error:
            failing = {step["step"]: step["error"] for step in steps if step["failed"]}
            raise TimeoutError(f"{error}; failing: {failing or 'no report'}") from None

    async def is_silent(self, one: Restaurant, node: Node) -> bool:
        """Whether a node missed four beats and five seconds of grace."""
        view = await self.site(one)
        newest = next((entry["beat_ms"] or 0 for entry in view["nodes"] if entry["node"] == node.plan.node), 0)
        return newest < (time.time() - 4 * self.interval - 5) * 1000

    async def nothing_missing(self, one: Restaurant) -> bool:
        """Whether every outbox of the site is empty, and the cloud has all messages of each run without a gap."""
        for node in one.nodes:
            for path in (node.folder / "state").glob("*/outbox.db"):
                with contextlib.suppress(Retryable):
                    if await asyncio.to_thread(count, path):
                        return False
            view = await self.cloud.call("GET", f"/v1/fleet/nodes/{node.plan.node}/streams")
            if any(run["have"] or run["dropped"] or run["rejected"] for run in view["streams"]):
                return False
        return True

    async def holder(self, one: Restaurant) -> Node | None:
        """The node whose Vessel holds the Lease, None where nobody does."""
        name = await self.get(one, "lease", "vessel", "{.spec.holderIdentity}", namespace="galley-system")
        return next((node for node in one.nodes if name and name in (node.plan.node, node.name)), None)

    async def fingerprint(self, one: Restaurant) -> dict[str, str]:
        """UID and generation (else resourceVersion) of every object of the Atlas' namespaces that Vessel applied."""
        kinds = "deploy,sts,ds,cm,svc,pdb,cronjob,job,netpol,ingress,sa,limitrange,quota"
        text = await self.kubectl_run(one, "get", kinds, "-A", "-o", "json", "--show-managed-fields")
        found = {}
        for item in json.loads(text)["items"]:
            meta = item["metadata"]
            if any(entry.get("manager") == "galley-vessel" for entry in meta.get("managedFields", [])):
                version = meta.get("generation") or meta["resourceVersion"]
                found[f"{item['kind']} {meta['namespace']}/{meta['name']}"] = f"{meta['uid']} {version}"
        return found

    @property
    def kubectl(self) -> Path:
        """The kubectl that belongs to the control planes."""
        return kube_build.ensure() / "kubectl"

    async def get(self, one: Restaurant, kind: str, name: str, path: str, *, namespace: str = "restaurant") -> str:
        """One field of an object by JSONPath, empty where there is no such object."""
        arguments = ("get", kind, name, "-n", namespace, "-o", f"jsonpath={path}", "--ignore-not-found")
        return (await self.kubectl_run(one, *arguments)).strip()

    async def kubectl_run(self, one: Restaurant, *arguments: str, stdin: str = "") -> str:
        """Runs kubectl as the site's administrator."""
        return await run(self.kubectl, "--kubeconfig", one.admin_kubeconfig, *arguments, stdin=stdin)

    async def until(self, is_so: Callable[[], Awaitable[bool]], *, seconds: float, what: str) -> float:
        """Waits until something is true and returns how long it took in s; TimeoutError naming it otherwise."""
        began = time.monotonic()
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):  # the endpoint is being started again
                if await is_so():
                    return time.monotonic() - began
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"not so within {seconds:.0f} s: {what}")
            await asyncio.sleep(LOOK_SECONDS)


async def run(*command: str | Path, seconds: float = 120, stdin: str = "") -> str:
    """Runs a command and returns its standard output; RuntimeError with what it said when it fails."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, complaint = await asyncio.wait_for(process.communicate(stdin.encode()), seconds)
    except TimeoutError:
        process.kill()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed ({process.returncode}):\n{complaint.decode()}")
    return output.decode()
