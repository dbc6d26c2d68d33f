"""Pure wire types, one module a kind of message, each versioned by its `v`."""
