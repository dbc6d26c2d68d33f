"""Edge Commander: enrols the node, holds its identity, and manages its life."""
