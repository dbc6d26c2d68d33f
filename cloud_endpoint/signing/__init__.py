"""Operators' keys that sign, wherever they lie: a file, an ssh-agent, a PKCS#11 token."""
