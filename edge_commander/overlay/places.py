"""Where the layers of /etc lie on a node. Pure."""

from __future__ import annotations

LOWER = "/etc"
UPPER = "/run/galley-conf/etc/upper"
WORK = "/run/galley-conf/etc/work"
KEEP = "/var/lib/galley-keep/etc-overlay"
RUN = "/run/galley-overlay"
IMAGE = "image"
"""In RUN: the image's /etc, read-only, as the overlay lies on it."""
MEMORY = "memory"
"""In RUN: the upper layer where conf has none that can be used."""
NOTES = "boot.json"
"""In RUN: what this boot could not do."""
