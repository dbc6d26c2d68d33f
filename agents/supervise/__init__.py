"""The daemon's life: signals, task group, readiness, watchdog, health and metrics port."""
