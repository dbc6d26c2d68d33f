"""Reads one commit's tree into an Atlas: YAML as Kubernetes reads it, apps, kustomize, all problems at once."""
