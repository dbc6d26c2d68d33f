"""A site of three with the NUC image, one of them a machine in QEMU: whether it forms, and what etcd makes of it.

`python -m tests.soak.image_sites [worker|server]`: what the machine is in the cluster. Prints a row of the report.
"""

from __future__ import annotations

import re
import sys
import time

from agents.contracts.trust import MemberRole
from tests.site_in_a_box.image_site import NUMBERS, ImageSite, formed, kube_image

SECONDS = 3600.0
FILES = {
    "apps/card/app.yaml": "v: 1\nowner: a\nnamespace: default\n",
    "apps/card/card.yaml": "apiVersion: v1\nkind: ConfigMap\n"
    "metadata: {name: card, namespace: default}\ndata: {greeting: hello}\n",
}
COUNTED = {
    "leader changes": "etcd_server_leader_changes_seen_total",
    "heartbeats not sent": "etcd_server_heartbeat_send_failures_total",
    "proposals failed": "etcd_server_proposals_failed_total",
}
FSYNC = "etcd_disk_wal_fsync_duration_seconds"


def form(site: ImageSite) -> tuple[float, float]:
    """From power on to one cluster with the Atlas in it. When two were ready and when all three, s; asserts."""
    site.commit(FILES)
    began = time.monotonic()
    site.machine.start()
    site.power_on()
    site.machine.wait_shell(SECONDS)
    site.lay_network()
    site.wait(lambda: [one[0] for one in site.states().values()].count("ready") >= 2, SECONDS, "two are ready")
    two = time.monotonic() - began
    print(f"two are ready after {two:.0f} s", flush=True)
    site.wait(site.ready, SECONDS, "all three are ready")
    three = time.monotonic() - began
    assert site.nodes_ready() == dict.fromkeys(site.names, True)
    voters = site.names if site.emulated is MemberRole.SERVER else site.names[:2]
    assert sorted(site.etcd_members()) == voters
    card = ("get", "configmap", "card", "-o", "jsonpath={.data.greeting}")
    site.wait(lambda: site.kubectl(*card) == "hello", SECONDS, "the Atlas is applied")
    return two, three


def image_site(role: MemberRole) -> str:
    """A row of the report. `role`: of the emulated machine."""
    with formed(kube_image(), role) as site:
        two, three = form(site)
        figures = "; ".join(filter(None, (_figures(site, number) for number in NUMBERS)))
    return (
        f"| two boxes in nspawn and a machine in QEMU, a {role.value}, all with the image | one cluster; two ready "
        f"after {two:.0f} s, all three after {three:.0f} s; {figures} |"
    )


def _figures(site: ImageSite, number: int) -> str:
    """What etcd on that node counted; empty where there is none."""
    found = dict(re.findall(r"^(etcd_\w+)(?:\{[^}]*\})? ([0-9.e+-]+)$", site.etcd_metrics(number), re.MULTILINE))
    if f"{FSYNC}_count" not in found:
        return ""
    mean = 1000 * float(found[f"{FSYNC}_sum"]) / max(1.0, float(found[f"{FSYNC}_count"]))
    counted = ", ".join(f"{float(found.get(name, 0)):.0f} {what}" for what, name in COUNTED.items())
    return f"{site.names[number - 1]}: fsync {mean:.1f} ms (mean), {counted}"


if __name__ == "__main__":
    print(image_site(MemberRole((*sys.argv[1:], "worker")[0])))
