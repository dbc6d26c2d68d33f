"""Touches the cluster: applies what bootstrap.py lists, as whoever the kubeconfig says."""

from __future__ import annotations

from collections.abc import Sequence

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock, Object
from agents.io.kube import Kube, KubeRejected, Resource
from vessel import bootstrap
from vessel.mirror import user_of

MANAGER = "galley-bootstrap"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts", True)


async def apply(kube: Kube, objects: Sequence[Object]) -> None:
    """Applies the objects one by one. Raises Rejected, naming the object, or Retryable."""
    discovery = await kube.discover()
    for body in objects:
        resource = discovery.find(body["apiVersion"], body["kind"])
        if resource is None:
            raise Rejected(f"the cluster does not serve {body['kind']} in {body['apiVersion']}")
        meta = body["metadata"]
        try:
            await kube.apply(resource, meta.get("namespace", ""), meta["name"], body, manager=MANAGER)
        except KubeRejected as error:
            raise Rejected(error.cause, obj=f"{body['kind']} {meta['name']}") from None


async def ensure(kube: Kube, clock: Clock) -> bool:
    """Makes what Vessel needs where its default account is missing; True when it had to.

    Raises Rejected where this user may not, with the words that tell what to do, and Retryable.
    """
    try:
        if await kube.get(_ACCOUNTS, bootstrap.SYSTEM, bootstrap.ADMIN) is not None:
            return False
    except KubeRejected:
        return False  # may not even look: the first real request says what is missing
    try:
        await apply(kube, bootstrap.objects())
    except Rejected as error:
        raise Rejected(f"the cluster is not prepared, run `vessel bootstrap` as its administrator ({error})") from None
    await _until_bound(kube, clock)
    return True


async def _until_bound(kube: Kube, clock: Clock) -> None:
    """The API server's authorizer learns of a new binding a moment after it was written."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}},
    }
    admin = kube.acting_as(user_of(f"{bootstrap.SYSTEM}/{bootstrap.ADMIN}"))
    for _ in range(50):
        answer = await admin.request("POST", _REVIEWS, body=review)
        if (answer.get("status") or {}).get("allowed"):
            return
        await clock.sleep(0.1)
    raise Retryable("the binding of atlas-admin has no effect yet")
