"""Synthetic client: uses the platform as an app would, and measures it."""
