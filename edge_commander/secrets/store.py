"""The site's secrets on this node's disk. Touches one file, `site-secrets.json`, mode 0600.

It lies in the commander's state directory on `var`, beside the cluster's own data, and goes with it in a wipe: a wiped
node asks its siblings again, and a stolen disk of a wiped node holds no authority.
"""

from __future__ import annotations

from pathlib import Path

from agents.core.errors import Rejected
from agents.io.state import StateFile, sync_directory
from edge_commander.secrets.model import SiteSecrets

NAME = "site-secrets.json"


class SecretsStore:
    """What is on disk, in `secrets`. A corrupt file is put aside (see `damaged`) and counts as none: siblings have
    them."""

    def __init__(self, state_dir: Path) -> None:
        """Raises Retryable when the disk does not answer, Rejected for a file of a newer schema."""
        self.path = state_dir / NAME
        self._file = StateFile(self.path, SiteSecrets)
        self.secrets = self._file.load()
        if self.secrets is not None:
            self.path.chmod(0o600)

    def __repr__(self) -> str:
        return f"SecretsStore({self.secrets!r})"

    def save(self, secrets: SiteSecrets) -> None:
        """Keeps them; on return they survive a power cut. Nothing when they are there already.

        Raises Rejected for what would go back: another site's, an older epoch's or generation's, or other secrets
        under the same number. Raises Retryable, the old ones then stand.
        """
        held = self.secrets
        if held == secrets:
            return
        if held is not None:
            if secrets.site != held.site:
                raise Rejected(f"these are {secrets.site}'s, this node holds {held.site}'s", file=str(self.path))
            if (secrets.epoch, secrets.generation) < (held.epoch, held.generation):
                raise Rejected(f"{secrets!r} are older than {held!r}", file=str(self.path))
            if (secrets.epoch, secrets.generation) == (held.epoch, held.generation):
                raise Rejected(f"there are other secrets than those held: {held!r}", file=str(self.path))
            if secrets.epoch == held.epoch and secrets.lasting != held.lasting:
                raise Rejected(f"authorities never change within an epoch: {secrets!r}", file=str(self.path))
        self._file.save(secrets)
        self.secrets = secrets

    def clear(self) -> None:
        """Forgets them, also those put aside: the cluster is gone (reset, retirement). Raises OSError."""
        for file in [self.path, *(self.path.with_name(name) for name in self.damaged())]:
            file.unlink(missing_ok=True)
        sync_directory(self.path.parent)
        self._file = StateFile(self.path, SiteSecrets)
        self.secrets = None

    def damaged(self) -> list[str]:
        """Names of files put aside as corrupt, in order, for a report."""
        return sorted(file.name for file in self.path.parent.glob(f"{NAME}.corrupt-*"))
