"""What a person can do about what a node waits for, in words: one table, reason to advice, for two readers. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agents.contracts.messages import NodeState
from edge_commander.reasons import Why
from edge_commander.view import StatusDocument

CONFIG = "/etc/galley/galley.yaml"
"""Where the configuration is, unless another file was named."""


@dataclass(frozen=True)
class Advice:
    """`here`: for who stands before the machine, with a stick and a telephone and no login; `desk`: for who runs the
    fleet, with a shell on the node and rights at the endpoint; `image`: the same where `desk` needs that shell, and the
    node has the NUC image, on which nobody can log in."""

    here: str
    desk: str
    image: str = ""


NONE = Advice("", "")
ADVICE: dict[Why, Advice] = {
    Why.CONFIG: Advice(
        "put a galley.yaml that names an endpoint on a stick labelled GALLEY, and plug it in: the support desk has one",
        "name an endpoint in {config}, or leave this node alone: Vessel runs without one",
        "bring a stick labelled GALLEY whose galley.yaml names an endpoint",
    ),
    Why.ENDPOINT: Advice(
        "see that the network cable is plugged in and the restaurant's internet works; this node goes on by itself",
        "check the uplink; the node goes on by itself when the endpoint can be reached",
    ),
    Why.APPROVAL: Advice(
        "call the support desk with the node's id, or photograph the code here: they approve this machine",
        "approve this device at the endpoint, or put its one-time code into the enrolment code file",
        "approve this device, or bring its code with the settings on a GALLEY stick",
    ),
    Why.QUARANTINED: Advice(
        "call the support desk: another machine is known by this one's serial number",
        "look at the endpoint which machine holds this hardware id, and approve or refuse this one",
    ),
    Why.REFUSED: Advice(
        "call the support desk: this machine was refused there",
        "look at the endpoint why this device is refused",
    ),
    Why.KEYS: Advice(
        "leave the machine on, exchange no part of it, and call the support desk",
        "put the device keys back from a copy, or have the endpoint retire this device and wipe it",
        "have the endpoint retire this device and wipe it",
    ),
    Why.TPM: Advice(
        "switch the machine off and on once; if this stays, call the support desk",
        "look whether the firmware still shows the TPM; the node goes on by itself when it answers",
    ),
    Why.HARDWARE: Advice(
        "this disk belongs to another machine: put it back there, or call the support desk",
        "put the disk back into its own machine, or wipe it",
    ),
    Why.ADDRESS: Advice(
        "call the support desk: the restaurant's network has given this machine another address than before",
        "give this node its address back (a reservation in the LAN's DHCP), or wipe it, so that it joins anew",
    ),
    Why.MOVED: Advice(
        "call the support desk: this machine comes from another site, and must be wiped first",
        "wipe this node before it serves another site",
    ),
    Why.CLOCK: Advice(
        "see that the network cable is plugged in; if this stays, call the support desk: the clock is wrong",
        "set the clock, or make NTP reachable",
        "make NTP reachable, or set the clock in the firmware's setup",
    ),
    Why.SITE: Advice(
        "call the support desk: they add this machine to the site",
        "add this node to the site's roster at the endpoint",
    ),
    Why.API: Advice(
        "see that the other nodes are switched on, and wait ten minutes; if this stays, call the support desk",
        "look at the cluster's API server on this site",
    ),
    Why.MEMBER: Advice(
        "wait ten minutes; if this stays, call the support desk",
        "look whether this node is part of the cluster (kubectl get nodes)",
    ),
    Why.NODE_READY: Advice(
        "wait ten minutes; if this stays, call the support desk",
        "look at this node (kubectl describe node)",
    ),
    Why.EPOCH: Advice(
        "see that the network cable is plugged in and the restaurant's internet works; this node goes on by itself",
        "make the endpoint reachable: this node has seen a newer roster",
    ),
    Why.WIPE: Advice(
        "leave the machine on, and call the support desk: they wipe it from afar",
        "wipe this node, so that it can join the site's new cluster; the older one was stopped, its data stay",
    ),
    Why.SIBLINGS: Advice(
        "see that the other nodes are switched on and their network cables plugged in; this node goes on by itself",
        "look whether the other nodes have power and a network; the node goes on by itself",
    ),
    Why.DECISION: Advice(
        "see that the internet works and the other nodes are switched on; this node goes on by itself",
        "make the endpoint reachable, or the siblings where the site decides offline; nothing is lost",
    ),
    Why.SECRETS: Advice(
        "switch on all nodes of this restaurant; if they are on, call the support desk",
        "start a node that was a member before; if there is none any more, the site needs a new epoch",
    ),
    Why.FIRST: Advice(
        "nothing: another node begins. If this stays for half an hour, call the support desk",
        "nothing yet; if it stays so, look at the node that begins the cluster",
    ),
    Why.TURN: Advice(
        "nothing: one node after another takes its turn",
        "nothing: nodes join, are upgraded, and renew their certificates, one after another",
    ),
    Why.WHOLE: Advice(
        "see that all nodes of this restaurant are switched on; this goes on by itself",
        "look at the nodes that are not ready; the upgrade goes on by itself",
    ),
    Why.VERSION: Advice(
        "call the support desk: a program that was ordered is not on this machine",
        "put the ordered version's programs on this node, beside those it runs",
        "order a version whose programs the image has, or update the image before",
    ),
    Why.STOPPED: Advice(
        "see that all nodes of this restaurant are switched on, and call the support desk",
        "look at the node that is named, then order anew (galley site upgrade)",
    ),
    Why.STARTING: Advice(
        "nothing: this takes a few minutes",
        "nothing: this takes a minute or two",
    ),
    Why.DISTRIBUTION: Advice(
        "leave the machine on, and call the support desk",
        "look at edge_commander.distribution in {config}, and at the journal of galley-edge-commander",
        "edge_commander.distribution in galley.yaml: a better one comes by a stick",
    ),
    Why.WIPING: Advice(
        "leave the machine on: it is erased from afar, and comes back by itself",
        "leave the machine on: it is wiped by an operator's command, and comes back by itself",
    ),
    Why.WIPE_FAILED: Advice(
        "leave the machine on, and call the support desk: its disk could not be erased",
        "look at the console: a partition could not be erased",
    ),
}
"""Every reason but none has one. `{config}`: the configuration's file."""

STATES: dict[NodeState, Advice] = {
    NodeState.WIPING: Advice(
        "leave the machine on: it is erased from afar, and comes back by itself",
        "leave the machine on: it reboots by itself, erases, and comes back to its site",
    ),
    NodeState.RETIRED: Advice(
        "nothing: this machine is out of service for good, and may be switched off and sent back",
        "nothing: this node gave its identity up for good, and may be shipped anew",
    ),
}
"""Where there is no reason, and yet something to say."""


def advice(document: StatusDocument, config: str = CONFIG) -> Advice:
    """By the reason's code, else by the state; empty texts when nothing is to be done."""
    fitting = [why for why in ADVICE if document.reason.startswith(why.value)]
    if not fitting:
        return STATES.get(document.state, NONE)
    found = ADVICE[max(fitting, key=lambda why: len(why.value))]
    return Advice(found.here, found.desk.format(config=config), found.image)
