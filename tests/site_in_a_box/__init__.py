"""Whole sites on one machine: built programs, processes, and Kubernetes control planes on loopback.

Nothing is imported here: `kube_build` runs before any dependency is installed.
"""
