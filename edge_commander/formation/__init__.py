"""How three boxes become one cluster: the record on `ident`, the next step from facts, and the shell that takes it."""
