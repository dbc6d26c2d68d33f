"""In which order the objects of one stage are applied, and in which they are deleted. Pure."""

from __future__ import annotations

from enum import IntEnum

from vessel.model import Ref


class Wave(IntEnum):
    """Objects of one wave are applied at once; the next wave waits until all of them are written."""

    NAMESPACES = 0
    DEFINITIONS = 1  # the next wave also waits until they are established
    CONFIGURATION = 2  # what workloads refer to
    WORKLOADS = 3  # and every kind not named here
    ADMISSION = 4  # what would judge, or answer for, the objects above before it is running


_CONFIGURATION = """
/ServiceAccount /ConfigMap /Secret /Service /ResourceQuota /LimitRange /PersistentVolume /PersistentVolumeClaim
storage.k8s.io/StorageClass scheduling.k8s.io/PriorityClass node.k8s.io/RuntimeClass networking.k8s.io/IngressClass
networking.k8s.io/NetworkPolicy rbac.authorization.k8s.io/Role rbac.authorization.k8s.io/RoleBinding
rbac.authorization.k8s.io/ClusterRole rbac.authorization.k8s.io/ClusterRoleBinding
"""
_KINDS: dict[str, Wave] = {
    **dict.fromkeys(_CONFIGURATION.split(), Wave.CONFIGURATION),
    "/Namespace": Wave.NAMESPACES,
    "apiextensions.k8s.io/CustomResourceDefinition": Wave.DEFINITIONS,
    "apiregistration.k8s.io/APIService": Wave.ADMISSION,
    "admissionregistration.k8s.io/ValidatingWebhookConfiguration": Wave.ADMISSION,
    "admissionregistration.k8s.io/MutatingWebhookConfiguration": Wave.ADMISSION,
}
_PRECIOUS = {
    "/Namespace", "/PersistentVolumeClaim", "/PersistentVolume", "apiextensions.k8s.io/CustomResourceDefinition",
}  # fmt: skip


def wave(ref: Ref) -> Wave:
    """The wave of an object."""
    return _KINDS.get(f"{ref.group}/{ref.kind}", Wave.WORKLOADS)


def is_definition(ref: Ref) -> bool:
    """True for a CustomResourceDefinition."""
    return wave(ref) is Wave.DEFINITIONS


def is_precious(ref: Ref) -> bool:
    """True for kinds whose deletion takes other people's data with it: it waits for a person's word."""
    return f"{ref.group}/{ref.kind}" in _PRECIOUS
