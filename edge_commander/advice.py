"""What a person can do about what a node waits for, in words: one table, reason to advice. Pure."""

from __future__ import annotations

from agents.contracts.messages import NodeState
from edge_commander.reasons import Why
from edge_commander.view import StatusDocument

CONFIG = "/etc/galley/galley.yaml"
"""Where the configuration is, unless another file was named."""

ADVICE: dict[Why, str] = {
    Why.CONFIG: "name an endpoint in {config}, or leave this node alone: Vessel runs without one",
    Why.ENDPOINT: "check the uplink; the node goes on by itself when the endpoint can be reached",
    Why.APPROVAL: "approve this device at the endpoint, or put its one-time code into the enrolment code file",
    Why.QUARANTINED: "look at the endpoint which machine holds this hardware id, and approve or refuse this one",
    Why.REFUSED: "look at the endpoint why this device is refused",
    Why.KEYS: "put the device keys back from a copy, or have the endpoint retire this device and wipe it",
    Why.TPM: "look whether the firmware still shows the TPM; the node goes on by itself when it answers",
    Why.HARDWARE: "put the disk back into its own machine, or wipe it",
    Why.ADDRESS: "give this node its address back (a reservation in the LAN's DHCP), or wipe it, so that it joins anew",
    Why.MOVED: "wipe this node before it serves another site",
    Why.CLOCK: "set the clock, or make NTP reachable",
    Why.SITE: "add this node to the site's roster at the endpoint",
    Why.API: "look at the cluster's API server on this site",
    Why.MEMBER: "look whether this node is part of the cluster (kubectl get nodes)",
    Why.NODE_READY: "look at this node (kubectl describe node)",
    Why.EPOCH: "make the endpoint reachable: this node has seen a newer roster",
    Why.WIPE: "wipe this node, so that it can join the site's new cluster; the older one was stopped, its data stay",
    Why.SIBLINGS: "look whether the other nodes have power and a network; the node goes on by itself",
    Why.DECISION: "make the endpoint reachable, or the siblings where the site decides offline; nothing is lost",
    Why.SECRETS: "start a node that was a member before; if there is none any more, the site needs a new epoch",
    Why.FIRST: "nothing yet; if it stays so, look at the node that begins the cluster",
    Why.TURN: "nothing: nodes join, are upgraded, and renew their certificates, one after another",
    Why.WHOLE: "look at the nodes that are not ready; the upgrade goes on by itself",
    Why.VERSION: "put the ordered version's programs on this node, beside those it runs",
    Why.STOPPED: "look at the node that is named, then order anew (galley site upgrade)",
    Why.STARTING: "nothing: this takes a minute or two",
    Why.DISTRIBUTION: "look at edge_commander.distribution in {config}, and at the journal of galley-edge-commander",
    Why.WIPING: "leave the machine on: it is wiped by an operator's command, and comes back by itself",
    Why.WIPE_FAILED: "look at the console: a partition could not be erased",
}
"""Every reason but none has one. `{config}`: the configuration's file."""

STATES: dict[NodeState, str] = {
    NodeState.WIPING: "leave the machine on: it reboots by itself, erases, and comes back to its site",
    NodeState.RETIRED: "nothing: this node gave its identity up for good, and may be shipped anew",
}
"""Where there is no reason, and yet something to say."""


def advice(document: StatusDocument, config: str = CONFIG) -> str:
    """What a person can do, by the reason's code, else by the state; empty when nothing is to be done."""
    fitting = [why for why in ADVICE if document.reason.startswith(why.value)]
    if not fitting:
        return STATES.get(document.state, "")
    return ADVICE[max(fitting, key=lambda why: len(why.value))].format(config=config)
