"""Heartbeat: reports that a node is alive, and its facts when they change."""
