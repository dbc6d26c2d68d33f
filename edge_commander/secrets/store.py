"""The site's secrets on this node's disk. Touches two files of mode 0600: `site-secrets.json`, and, while the next
generation is being made here, `site-secrets-next.json`, which nobody is given.

They lie in the commander's state directory on `var`, beside the cluster's own data, and go with it in a wipe: a wiped
node asks its siblings again, and a stolen disk of a wiped node holds no authority.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from agents.core.errors import Rejected
from agents.io.state import StateFile, sync_directory
from edge_commander.secrets.model import SiteSecrets

NAME = "site-secrets.json"
DRAFT = "site-secrets-next.json"


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The generation after `base`, made here, not yet known to be the site's."""

    base: int
    secrets: SiteSecrets


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
        self._draft = StateFile(state_dir / DRAFT, Draft)
        self.draft = self._draft.load()

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

    def sketch(self, draft: Draft) -> None:
        """Keeps a draft; made again after a crash, a generation must be the same, byte by byte. Raises Retryable."""
        self._draft.save(draft)
        self.draft = draft

    def drop(self) -> None:
        """Forgets the draft. Raises OSError."""
        if self.draft is not None:
            self._draft.path.unlink(missing_ok=True)
            sync_directory(self.path.parent)
            self.draft = None

    def clear(self) -> None:
        """Forgets them, also those put aside: the cluster is gone (reset, retirement). Raises OSError."""
        self.draft = None
        for file in [self.path, self._draft.path, *(self.path.with_name(name) for name in self.damaged())]:
            file.unlink(missing_ok=True)
        sync_directory(self.path.parent)
        self._file = StateFile(self.path, SiteSecrets)
        self.secrets = None

    def damaged(self) -> list[str]:
        """Names of files put aside as corrupt, in order, for a report."""
        return sorted(file.name for file in self.path.parent.glob("site-secrets*.json.corrupt-*"))
