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
    characters, the shared secret with which k3s' nodes join.
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    site: SiteId
    epoch: Annotated[int, msgspec.Meta(ge=1)]
    generation: Annotated[int, msgspec.Meta(ge=1)] = 1
    cluster: Authority
    etcd: Authority
    front_proxy: Authority
    service_account_key: str
    token: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

    @property
    def lasting(self) -> tuple[Authority, Authority, Authority, str]:
        """What never changes within an epoch: the authorities and the service accounts' key."""
        return self.cluster, self.etcd, self.front_proxy, self.service_account_key

    def __repr__(self) -> str:
        return f"SiteSecrets(site={self.site!r}, epoch={self.epoch}, generation={self.generation})"
