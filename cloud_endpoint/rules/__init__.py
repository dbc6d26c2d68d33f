"""Pure decisions of the endpoint: no I/O, no time of their own."""
