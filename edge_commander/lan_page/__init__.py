"""The read-only page on the LAN: what the console shows, for a telephone in the restaurant. A process of its own."""
