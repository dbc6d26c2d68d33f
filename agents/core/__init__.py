"""Pure building blocks: errors, settings, backoff, identifiers and the ports (Protocols) that adapters fill."""
