"""Where the suite's clients have aiohttp from: loaded when it is first used, and without the system's certificates.

It is near half of what a daemon imports, and most have nothing to ask while the machine starts. The certificates it
reads when it is imported, for connections that name no TLS context: some 140, twice, a tenth of the import's CPU. Ours
name theirs (tls.py); one that did not would trust nobody.
"""

from __future__ import annotations

import importlib
import ssl
import sys
import threading
from typing import TYPE_CHECKING, Any

__all__ = ["aiohttp", "load"]

READS = "set_default_verify_paths"
"""What reads them; it is the C type's, below the class that everybody uses."""


def load() -> Any:
    """Loads it now, for who is about to take the time, and before a module that imports it in the ordinary way.

    The class of contexts gets, for as long as aiohttp makes its two, a method of its own that reads nothing in this
    thread, and in any other what it always read.
    """
    if "aiohttp.connector" not in sys.modules:
        reads, me = getattr(ssl.SSLContext, READS), threading.get_ident()
        setattr(ssl.SSLContext, READS, lambda context: None if threading.get_ident() == me else reads(context))
        try:
            importlib.import_module("aiohttp.connector")
        finally:
            delattr(ssl.SSLContext, READS)
    return importlib.import_module("aiohttp")


class _OnUse:
    """Stands for the module. What was asked for once is its own attribute from then on."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # who asks what kind of thing this is does not use it
            raise AttributeError(name)
        found = getattr(load(), name)
        setattr(self, name, found)
        return found


if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = _OnUse()
