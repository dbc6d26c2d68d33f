"""Builds what Edge Commander runs for diagnostics: the verb's handler and the loop that sends bundles."""

from __future__ import annotations

import random

from agents.supervise.daemon import Context, Loop
from edge_commander.cloud import Cloud
from edge_commander.diagnostics.ask import handler
from edge_commander.diagnostics.upload import UploadParts, Uploads
from edge_commander.machine.client import SOCKET, Machine
from edge_commander.settings import CommanderSettings
from edge_commander.tokens import Tokens
from edge_commander.verbs import Handler


def build(context: Context[CommanderSettings], cloud: Cloud, tokens: Tokens) -> tuple[Handler, list[Loop]]:
    """The handler, and the loops: none where bundles stay on the node. Raises Retryable."""
    ours = context.settings.own.diagnostics
    uploads = Uploads(
        UploadParts(
            settings=ours,
            cloud=cloud,
            tokens=tokens,
            clock=context.clock,
            state_dir=context.state_dir,
            uniform=random.uniform,
            log=context.log,
            say=lambda ok, text: context.health.set("diagnostics", ok, text),
        )
    )
    ask = Machine(context.run_dir / SOCKET).ask
    loops = [Loop("diagnostics", uploads.run)] if ours.upload else []
    return handler(ask, made=uploads.made), loops
