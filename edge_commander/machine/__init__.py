"""The root half of the machine itself: what of a node needs root and is not its cluster. Asked over a unix socket."""
