"""A/B updates of the node's image: fetched, put into the idle root, tried, and taken back where they do not work."""
