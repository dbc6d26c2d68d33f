"""A site's secrets for tests, made as the first server makes them."""

from __future__ import annotations

import time

from edge_commander.reasons import NOTHING, Reason
from edge_commander.secrets.authority import make_secrets
from edge_commander.secrets.model import SiteSecrets


class Now:
    """This machine's clock, which is trusted here."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def problem(self) -> Reason:
        return NOTHING


def make(site: str, epoch: int = 1) -> SiteSecrets:
    """New secrets of one site and epoch."""
    return make_secrets(site, epoch, Now())
