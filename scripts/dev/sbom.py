"""Lists what is installed in this environment as a CycloneDX document: names, versions, licences.

python -m xpoll.scripts.dev.sbom > sbom.cdx.json
"""

import json
import sys
from importlib import metadata
from typing import Any


def bill_of_materials() -> dict[str, Any]:
    """The distributions of this environment in CycloneDX 1.6, sorted by name."""
    components = [_component(distribution) for distribution in metadata.distributions() if distribution.metadata]
    unique = {component["purl"]: component for component in components}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "xpoll", "version": metadata.version("xpoll")}},
        "components": [unique[purl] for purl in sorted(unique)],
    }


def _component(distribution: metadata.Distribution) -> dict[str, Any]:
    name = str(distribution.metadata["Name"]).lower().replace("_", "-").replace(".", "-")
    licence = distribution.metadata.json.get("license_expression")
    made: dict[str, Any] = {"type": "library", "name": name, "version": distribution.version}
    made["purl"] = f"pkg:pypi/{name}@{distribution.version.replace('+', '%2B')}"
    return {**made, "licenses": [{"expression": licence}]} if licence else made


if __name__ == "__main__":
    json.dump(bill_of_materials(), sys.stdout, indent=1)
