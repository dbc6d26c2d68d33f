"""The diagnostics bundle: what is collected of a node, scrubbed of secrets, kept on `keep` and sent to the endpoint."""
