"""What the verbs on a node do, apart from a wipe: each verb's rules, and the handler that carries them out."""
