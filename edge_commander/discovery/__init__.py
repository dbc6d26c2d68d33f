"""Finding siblings on the LAN by mDNS: a process of its own that holds nothing, and the hints that it leaves."""
