"""Adapters: the only modules of the shared part that touch clock, disk, network, processes and kernel."""
