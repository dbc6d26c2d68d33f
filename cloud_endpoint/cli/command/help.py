"""What `--help` says of verbs, targets and args: by the table of rules that nodes judge by, with examples. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agents.contracts.command import Verb
from agents.contracts.wipe import Target
from agents.core.command_rules import REBUILD, RULES, SNAPSHOT, YES, Rule, Signer
from cloud_endpoint.cli.command.words import LOST

NODE = "n-abcdefghijklmnop"
DOES: Mapping[Verb, str] = {
    Verb.SYNC: "looks at its Atlas now",
    Verb.SNAPSHOT: "takes a snapshot of the cluster, onto its keep",
    Verb.COLLECT_DIAGNOSTICS: "makes a bundle of logs and states, without secrets",
    Verb.REBOOT: "starts anew: one node of a site an hour, never at the quorum's cost",
    Verb.WIPE: "erases the targets at its next start, comes back and joins",
    Verb.RETIRE: "erases the targets, its identity among them, and is out for good",
    Verb.REJOIN: "leaves its cluster and joins it again; erases no partition",
    Verb.UPGRADE: "goes to another image of its operating system (`galley release sign` prints the args)",
    Verb.ROTATE: "renews its own certificates (the site's secrets: galley site rotate)",
}
_ARGS: Mapping[str, str] = {
    "reason": "for people and the audit",
    REBUILD: f"{YES}: the whole site is built anew, no quorum is spared",
    SNAPSHOT: "no: none of the cluster need be kept first",
    "version": "of the image, such as 1.4.0",
    "sha256": "of its release.json",
    "address": "https://..., the folder that its files are in",
}


def asked() -> str:
    """Below `galley command ask --help`."""
    return "\n".join(
        [
            "verbs, which need no operator's key: the endpoint signs. The node...",
            *_verbs(endpoint=True),
            "",
            f"every other verb needs an operator's signature: galley command sign ({_names(endpoint=False)})",
            "",
            "examples:",
            f"  galley command ask reboot {NODE} --arg reason='fan replaced'",
            "  galley command ask collect-diagnostics --site store-01234",
        ]
    )


def signed() -> str:
    """Below `galley command sign --help`."""
    targets = [f"  {LOST[one]}" for one in Target]
    return "\n".join(
        [
            "verbs, which nodes take from operators alone. The node...",
            *_verbs(endpoint=False),
            "",
            "targets, each with a --target of its own:",
            *targets,
            "keep, ident and rebuild=yes need as many signatures as the operators' document says",
            "",
            f"an operator may sign what the endpoint may, too: {_names(endpoint=True)}",
            "",
            "examples:",
            f"  galley command sign wipe {NODE} --target var --target conf --key ~/ann.json -o wipe.json",
            "  galley command send wipe.json",
            "  galley command sign --add wipe.json --key ssh-agent:ben@ops      (a second operator's signature)",
        ]
    )


OUT = "needed: the new file for what is signed. With --add it may be left out: then that file gets the signature"
GROUP = (
    "commands to nodes: `ask` has the endpoint sign what needs no operator (restarts, bundles, snapshots);"
    " `sign`, then `send`, is for what only operators may order (wipes, upgrades)"
)


def targets() -> str:
    """Of the flag."""
    by_verb = [f"{verb.value}: {', '.join(_targets(rule))}" for verb, rule in RULES.items() if rule.targets]
    return f"what is erased, once for each ({'; '.join(by_verb)})"


def args() -> str:
    """Of the flag."""
    return "what the verb takes besides, once for each; reason=TEXT with every verb. The list below names the others"


def _verbs(*, endpoint: bool) -> list[str]:
    lines = []
    for verb, rule in RULES.items():
        if (rule.signer is Signer.ENDPOINT) is not endpoint:
            continue
        lines.append(f"  {verb.value:<20} {DOES[verb]}")
        if rule.targets:
            lines.append(f"  {'':<20}   --target {', '.join(_targets(rule))}")
        lines += [
            f"  {'':<20}   --arg {name}=...  {_ARGS[name]}{' (always)' if name in rule.needs else ''}"
            for name in rule.args
            if name != "reason"
        ]
    return lines


def _names(*, endpoint: bool) -> str:
    return ", ".join(verb.value for verb, rule in RULES.items() if (rule.signer is Signer.ENDPOINT) is endpoint)


def _targets(rule: Rule) -> list[str]:
    return [one.value + (" (always)" if one in rule.must else "") for one in Target if one in rule.targets]
