"""What a person at the machine is shown of a node, on its first console and on a page on the LAN: one view of it."""
