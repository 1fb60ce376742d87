"""Lists what is installed in this environment as a CycloneDX document: names, versions, licences, who needs whom.

python -m xpoll.scripts.dev.sbom > sbom.cdx.json

With SOURCE_DATE_EPOCH set, equal environments give equal documents.
"""

import os
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata

from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name


def bill_of_materials() -> str:
    """The distributions of this environment as CycloneDX 1.6 JSON, sorted by name and version.

    Raises:
        PackageNotFoundError: xpoll itself is not installed.
    """
    found = [distribution for distribution in metadata.distributions() if distribution.metadata]
    installed = {canonicalize_name(distribution.metadata["Name"]): distribution for distribution in found}
    components = {name: _component(name, distribution) for name, distribution in installed.items()}
    xpoll = Component(
        type=ComponentType.APPLICATION, name="xpoll", version=metadata.version("xpoll"), bom_ref="application"
    )
    created = datetime.fromtimestamp(float(os.environ.get("SOURCE_DATE_EPOCH") or time.time()), UTC)
    purls = sorted(str(component.purl) for component in components.values())
    made = Bom(
        components=components.values(),
        metadata=BomMetaData(component=xpoll, timestamp=created),
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{created} {purls}"),
    )
    made.register_dependency(xpoll, [components[canonicalize_name("xpoll")]])
    for name, distribution in installed.items():
        made.register_dependency(components[name], [components[need] for need in _needs(distribution, installed)])
    return str(JsonV1Dot6(made).output_as_string(indent=1))


def _component(name: str, distribution: metadata.Distribution) -> Component:
    licence = distribution.metadata.json.get("license_expression")
    purl = PackageURL("pypi", name=name, version=distribution.version)
    return Component(
        name=name,
        version=distribution.version,
        purl=purl,
        bom_ref=str(purl),
        licenses=[LicenseExpression(str(licence))] if licence else [],
    )


def _needs(
    distribution: metadata.Distribution, installed: Mapping[NormalizedName, metadata.Distribution]
) -> set[NormalizedName]:
    """Which of what is installed a distribution requires in this environment, without its extras."""
    requirements = map(Requirement, distribution.requires or [])
    needed = [each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    return {canonicalize_name(each.name) for each in needed} & installed.keys()


if __name__ == "__main__":
    sys.stdout.write(bill_of_materials())
