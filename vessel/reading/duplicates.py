"""No object may be written twice in an Atlas, by one app or by two: the later pass would undo the former. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agents.contracts.messages import Problem
from vessel.model import App, AppSpec, Manifest

_CLUSTER_KINDS = frozenset(
    {
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("networking.k8s.io", "IngressClass"),
        ("node.k8s.io", "RuntimeClass"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "StorageClass"),
    }
)
"""Known without asking an API server. What is not listed counts as namespaced here; discovery knows better later."""


def duplicates(apps: Iterable[App]) -> Iterator[Problem]:
    """A problem for each object beyond the first of its group, kind, namespace and name; it names both places."""
    seen: dict[tuple[str, str, str, str], tuple[AppSpec, Manifest]] = {}
    for app in apps:
        for manifest in app.manifests:
            ref = manifest.ref
            cluster_wide = (ref.group, ref.kind) in _CLUSTER_KINDS
            namespace = "" if cluster_wide else ref.namespace or app.spec.namespace
            key = (ref.group, ref.kind, namespace, ref.name)
            if key not in seen:
                seen[key] = (app.spec, manifest)
                continue
            spec, first = seen[key]
            place = f"{first.file}:{first.line}" if first.line else first.file
            owner = "" if spec.name == app.spec.name else f", in app {spec.name}"
            cause = f"stands twice in the Atlas: first in {place}{owner}"
            yield Problem(file=manifest.file, line=manifest.line, object=str(ref), cause=cause)
