"""`make demo`: two restaurants on this machine, and a short live story."""
