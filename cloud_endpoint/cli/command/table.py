"""The commands of `galley command` and their flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloud_endpoint.cli.command import help as texts
from cloud_endpoint.cli.command import send, sign, status
from cloud_endpoint.cli.command.asked import VALID
from cloud_endpoint.cli.spec import Command, Flag
from cloud_endpoint.signing.keys import HELP

_VERB: dict[str, Any] = {"metavar": "VERB", "help": "what it is to do: listed below"}
_NODES: Flag = ("node", {"nargs": "*", "metavar": "NODE", "help": "node ids, as `galley node list` shows them"})
_SITE: Flag = ("--site", {"default": "", "help": "all nodes of that site; with NODE: they must be of it"})
_ARG: Flag = ("--arg", {"action": "append", "default": [], "metavar": "KEY=VALUE", "help": texts.args()})
_VALID: Flag = (
    "--valid",
    {"metavar": "TIME", "help": f"until it expires, such as 30m, at most 24h (default: {VALID})"},
)
_FILE: Flag = ("file", {"type": Path, "metavar": "FILE", "help": "as `galley command sign -o` wrote it"})
_SIGNED = ("node", "site", "verb", "targets", "args", "expires_ms", "signed_by")
_SENT = ("node", "sequence", "verb", "result", "outcome", "command_id", "detail")
COMMAND: tuple[Command, ...] = (
    Command(
        ("command", "sign"),
        "sign commands to nodes with an operator's key, into a file; or with --add put one more signature into one",
        sign.sign,
        [
            ("verb", {**_VERB, "nargs": "?"}),
            _NODES,
            _SITE,
            ("--target", {"action": "append", "default": [], "metavar": "NAME", "help": texts.targets()}),
            _ARG,
            _VALID,
            ("--key", {"metavar": "KEY", "help": HELP}),
            ("--add", {"type": Path, "metavar": "FILE", "help": "sign what this file says too; asks no endpoint"}),
            ("-o", {"dest": "out", "type": Path, "metavar": "FILE", "help": texts.OUT}),
            ("--yes", {"action": "store_true", "help": "do not ask"}),
        ],
        _SIGNED,
        local=lambda options: options.add is not None,
        more=texts.signed,
    ),
    Command(("command", "show"), "what a file of signed commands says", sign.show, [_FILE], _SIGNED, local=True),
    Command(
        ("command", "send"),
        "give a file's commands to the endpoint, each node's once",
        send.send,
        [_FILE],
        _SENT,
        status=send.status,
    ),
    Command(
        ("command", "ask"),
        "have the endpoint sign and send a command that needs no operator: sync, snapshot, collect-diagnostics, reboot",
        send.ask,
        [("verb", _VERB), _NODES, _SITE, _ARG, _VALID],
        _SENT,
        status=send.status,
        more=texts.asked,
    ),
    Command(
        ("command", "status"),
        "what came of commands; with --wait exits 3 where one ended otherwise than done",
        status.shown,
        [
            ("node", {"nargs": "?", "default": "", "metavar": "NODE", "help": "node id"}),
            ("--site", {"default": "", "help": "of all its nodes"}),
            ("--id", {"default": "", "help": "the command with this id"}),
            ("--wait", {"action": "store_true", "help": "until those that wait have ended"}),
        ],
        ("node", "sequence", "verb", "state", "by", "created_ms", "expires_ms", "command_id", "detail"),
        status=status.status,
    ),
)
