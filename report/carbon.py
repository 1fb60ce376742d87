"""Grams of CO2 equivalent that a kilowatt-hour of electricity costs, by country.

Reads carbon_intensity.csv: the table of the package codecarbon 3.3.2 (MIT), which has it from Our World in
Data (CC BY 4.0), which has it from Ember and the Energy Institute. Averages of a year; the grid at night,
or a provider's own contracts, may differ by several times.
"""

import csv
from pathlib import Path
from typing import NamedTuple

from xpoll.core.config.file import nearest
from xpoll.core.errors import ConfigError

TABLE = Path(__file__).parent / "carbon_intensity.csv"
SOURCE = "Our World in Data, as in codecarbon 3.3.2"


class CarbonIntensity(NamedTuple):
    """Grams of CO2 equivalent per kWh in one country: the mean of a year, and the source of the figure."""

    country: str
    g_per_kwh: float
    year: int
    source: str = SOURCE


def carbon_intensity(region: str) -> CarbonIntensity:
    """The figures of a country by its ISO 3166 code of three letters.

    Raises:
        ConfigError: the table does not know it.
    """
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = {row["iso_code"]: row for row in csv.DictReader(file)}
    if region not in rows:
        raise ConfigError(
            f"report.region = {region!r} is not in the table of carbon intensities",
            mend=nearest(region, list(rows)),
        )
    row = rows[region]
    return CarbonIntensity(row["country"], float(row["g_co2_per_kwh"]), int(row["year"]))
