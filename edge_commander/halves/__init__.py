"""The commander has no privileges; what needs root is a half of its own, asked over a unix socket. What all share."""
