"""What is in an image, as CycloneDX 1.6 JSON: Debian's packages and the suite's Python ones.

The fields are those of the CycloneDX specification, identifiers those of the package URL specification.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Mapping
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import quote

from images.nuc.manifest import Package
from tests.site_in_a_box import dist_info

Python = dict[str, str]
"""Name to version."""


def python_packages(site: Path) -> Python:
    """The distributions in a folder of Python packages."""
    found = {}
    for file in sorted(site.glob("*.dist-info/METADATA")):
        head = HeaderParser().parsestr(file.read_text(errors="replace"), headersonly=True)
        found[head["Name"]] = head["Version"]
    found.pop(dist_info.NAME, None)  # the suite itself is what the document is about, and is on no index
    return found


def document(name: str, version: str, epoch: int, debian: Mapping[str, Package], python: Python, *, digest: str) -> str:
    """The same text for the same content. `digest`: SHA-256 of the image; `epoch`: Unix s."""
    parts = [
        {
            "type": "library",
            "bom-ref": (url := f"pkg:deb/debian/{quote(one)}@{quote(package['version'], safe='')}"),
            "purl": f"{url}?arch={package['architecture']}&distro=debian-13",
            "name": one,
            "version": package["version"],
        }
        for one, package in sorted(debian.items())
    ]
    parts += [
        {"type": "library", "bom-ref": url, "purl": url, "name": one, "version": number}
        for one, number in sorted(python.items())
        if (url := f"pkg:pypi/{quote(one.lower().replace('_', '-'))}@{number}")
    ]
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "operating-system",
                "bom-ref": name,
                "name": name,
                "version": version,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            },
        },
        "components": parts,
    }
    return json.dumps(whole, indent=1) + "\n"
