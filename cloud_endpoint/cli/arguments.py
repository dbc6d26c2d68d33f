"""Ids on the command line: judged before anything is asked of the endpoint. Pure."""

from __future__ import annotations

import argparse

from agents.contracts.ids import is_node_id, is_site_id
from cloud_endpoint.cli.spec import Flag


def site_id(text: str) -> str:
    """The text itself; raises what argparse shows."""
    if not is_site_id(text):
        raise argparse.ArgumentTypeError(
            f"{text[:64]!r} is no site's id: lower-case letters, digits and hyphens, at most 63, such as store-01234"
        )
    return text


def site_id_or_none(text: str) -> str:
    """As `site_id`, and the empty text, which names none."""
    return site_id(text) if text else text


def node_id(text: str) -> str:
    """The text itself; raises what argparse shows."""
    if not is_node_id(text):
        raise argparse.ArgumentTypeError(
            f"{text[:64]!r} is no node's id: such as n-abcdefghijklmnop; `galley node list` shows them"
        )
    return text


SITE: Flag = ("id", {"type": site_id, "metavar": "SITE", "help": "the site's id, such as store-01234"})
NODE: Flag = ("device", {"type": node_id, "metavar": "NODE", "help": "node id, as `galley node list` shows it"})
