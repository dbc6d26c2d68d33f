"""The secrets of one site's cluster, as a value. Pure.

Made once on the first server, never sent to the cloud; they travel to siblings only sealed to their keys.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.ids import SiteId


class Authority(Struct, frozen=True, kw_only=True):
    """A certificate authority: certificate and private key (PKCS#8), PEM."""

    cert: str
    key: str

    def __repr__(self) -> str:
        return "Authority()"


class SiteSecrets(Struct, frozen=True, kw_only=True):
    """What every server of a site's cluster must hold. `generation` rises with each rotation, within an epoch.

    `cluster`, `etcd`, `front_proxy`: the three authorities of Kubernetes (kubernetes.io: PKI certificates and
    requirements). `service_account_key`: PEM, PKCS#8, signs service accounts' tokens. `token`: 64 hexadecimal
    characters, the shared secret with which k3s' nodes join. While the service accounts' key changes:
    `service_account_next`, the private key that is accepted already and will sign; `service_account_old`, PEM, the
    public key that signed before and is still accepted. Empty otherwise. `order`: number of the operators' order that
    the last rotation was begun for; 0: none was.
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    site: SiteId
    epoch: Annotated[int, msgspec.Meta(ge=1)]
    generation: Annotated[int, msgspec.Meta(ge=1)] = 1
    cluster: Authority
    etcd: Authority
    front_proxy: Authority
    service_account_key: str
    service_account_next: str = ""
    service_account_old: str = ""
    order: Annotated[int, msgspec.Meta(ge=0)] = 0
    token: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

    @property
    def lasting(self) -> tuple[Authority, Authority, Authority]:
        """What never changes within an epoch: the authorities."""
        return self.cluster, self.etcd, self.front_proxy

    @property
    def settled(self) -> bool:
        """Whether no key is on its way in or out: a rotation is at its end."""
        return not self.service_account_next and not self.service_account_old

    def __repr__(self) -> str:
        return f"SiteSecrets(site={self.site!r}, epoch={self.epoch}, generation={self.generation})"
