"""The siblings' channel: mutual TLS between the nodes of one site, and requests over it."""
