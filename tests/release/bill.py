"""The bill of materials: names, versions and licences of what is installed, as SPDX 2.3 in JSON.

Run it as ``python -m tests.release.bill FILE``. Only what gap_tune asks for, with all extras, is in
it; what else an environment holds is none of its business.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "gap-tune"
NO_ASSERTION = "NOASSERTION"
# Names that classifiers and older metadata give, by what SPDX calls them. What is left of them is
# looked at by a test.
SPELLINGS = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "isc": "ISC",
    "mit": "MIT",
    "mit license": "MIT",
    "the mit license (mit)": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "psf": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "zope public license": "ZPL-2.1",
}


_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")


@dataclass(frozen=True)
class Part:
    """An installed distribution.

    Attributes:
        name: Its name.
        version: Its version.
        license: What its metadata says, as SPDX writes it; ``NOASSERTION`` where they do not say.
        needs: The names of what it asks for here.
    """

    name: str
    version: str
    license: str
    needs: tuple[str, ...]

    @property
    def reference(self) -> str:
        """What the bill calls it."""
        return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{self.name}-{self.version}")


def license_of(found: Distribution) -> str:
    """Return what a distribution's metadata say of its licence."""
    said = found.metadata
    if said.get("License-Expression"):
        return str(said["License-Expression"])
    prefix = "License :: "
    classified = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier") or () if prefix in c]
    # Some have the whole text there. Of what is lacking some readers of metadata say None, others
    # raise: which one answers is up to what has been imported.
    text = str(said.get("License") or "")
    written = [text] if 0 < len(text) < 60 else []
    for text in (*written, *classified):
        known = SPELLINGS.get(text.strip().lower())
        if known is not None:
            return known
    told = [*written, *classified]
    return told[0] if told else NO_ASSERTION


def parts(root: str = PROJECT) -> list[Part]:
    """Return the project and all that it asks for, with all of its extras, by name."""
    found: dict[str, Part] = {}
    extras = frozenset(distribution(root).metadata.get_all("Provides-Extra") or ())
    left: list[tuple[str, frozenset[str]]] = [(root, extras)]
    asked: dict[str, frozenset[str]] = {}
    while left:
        name, wanted = left.pop()
        name = canonicalize_name(name)
        if name in asked and wanted <= asked[name]:
            continue
        asked[name] = wanted | asked.get(name, frozenset())
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            # An extra of a dependency that no platform here needs.
            continue
        needs = [*_needed(installed, asked[name])]
        left += [(need.name, frozenset(need.extras)) for need in needs]
        names = tuple(sorted({canonicalize_name(need.name) for need in needs} - {name}))
        found[name] = Part(name, installed.version, license_of(installed), names)
    return [found[name] for name in sorted(found)]


def _needed(installed: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    for text in installed.requires or ():
        need = Requirement(text)
        if need.marker is None or any(
            need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            yield need


def bill(made: datetime) -> dict[str, Any]:
    """Return the document.

    Args:
        made: When.
    """
    found = parts()
    known = {part.name: part for part in found}
    listed = "\n".join(f"{part.name}=={part.version}" for part in found)
    digest = hashlib.sha256(listed.encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{PROJECT}-{known[PROJECT].version}",
        "documentNamespace": f"urn:{PROJECT}:{digest}",
        "creationInfo": {
            "created": made.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: {PROJECT}-bill"],
        },
        "documentDescribes": [known[PROJECT].reference],
        "packages": [_package(part) for part in found],
        # Licences that SPDX has no name for; their texts come with the packages.
        "hasExtractedLicensingInfos": [
            {"licenseId": name, "extractedText": f"{name}: see the package.", "name": name}
            for name in sorted({n for part in found for n in _REFERENCE.findall(part.license)})
        ],
        "relationships": [
            {
                "spdxElementId": part.reference,
                "relationshipType": "DEPENDS_ON",
                "relatedSpdxElement": known[need].reference,
            }
            for part in found
            for need in part.needs
            if need in known
        ],
    }


def _package(part: Part) -> dict[str, Any]:
    # An expression has no spaces but around its operators.
    valid = re.fullmatch(r"[\w.+()-]+( (AND|OR|WITH) [\w.+()-]+)*", part.license)
    return {
        "SPDXID": part.reference,
        "name": part.name,
        "versionInfo": part.version,
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": False,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": part.license if valid else NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": f"pkg:pypi/{part.name}@{part.version}",
            }
        ],
    }


if __name__ == "__main__":
    (target,) = sys.argv[1:]
    Path(target).write_text(json.dumps(bill(datetime.now(UTC)), indent=1) + "\n")
    print(f"written to {target}")
