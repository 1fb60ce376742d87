"""The bill of materials names what is installed, as the list by hand did, and is the same for the same environment."""

import json
from importlib import metadata

import pytest

from xpoll.scripts.dev.sbom import bill_of_materials


def by_hand() -> list[dict[str, object]]:
    components = {}
    for distribution in metadata.distributions():
        name = str(distribution.metadata["Name"]).lower().replace("_", "-").replace(".", "-")
        licence = distribution.metadata.json.get("license_expression")
        made = {"type": "library", "name": name, "version": distribution.version}
        made["purl"] = f"pkg:pypi/{name}@{distribution.version.replace('+', '%2B')}"
        components[made["purl"]] = {**made, **({"licenses": [{"expression": licence}]} if licence else {})}
    return [components[purl] for purl in sorted(components)]


def test_the_bill_has_every_distribution_with_its_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    bill = json.loads(bill_of_materials())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "xpoll"
    listed = [{k: v for k, v in component.items() if k != "bom-ref"} for component in bill["components"]]
    assert sorted(listed, key=lambda component: component["purl"]) == by_hand()
    needs = {each["ref"]: set(each.get("dependsOn", [])) for each in bill["dependencies"]}
    purls = {component["name"]: component["bom-ref"] for component in bill["components"]}
    assert needs["application"] == {purls["xpoll"]}
    assert {purls["numpy"], purls["scipy"]} <= needs[purls["scikit-learn"]]
    assert bill == json.loads(bill_of_materials())
