"""Loads aiohttp without the system's certificates, and is where the suite's clients have it from.

aiohttp reads them when it is imported, for connections that name no TLS context: some 140,
twice, a tenth of the import's CPU in each daemon. Ours name theirs (tls.py); one that did not would trust nobody.
"""

from __future__ import annotations

import importlib
import ssl

__all__ = ["aiohttp"]

READS = "set_default_verify_paths"
"""What reads them; it is the C type's, below the class that everybody uses."""


def _load() -> None:
    """The class gets, for as long as aiohttp makes its two contexts, a method of its own that reads nothing."""
    setattr(ssl.SSLContext, READS, lambda context: None)
    try:
        importlib.import_module("aiohttp.connector")
    finally:
        delattr(ssl.SSLContext, READS)


_load()

import aiohttp  # noqa: E402
