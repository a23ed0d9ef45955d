"""Finds a sensor that says nothing, which `GET /health` would only leave out."""

from jidoteki.hookspecs import Appliance, Finding, hookimpl


@hookimpl
def jidoteki_check(appliance: Appliance) -> list[Finding] | None:
    sensor = appliance.root / "sys/class/thermal/thermal_zone1/temp"
    if appliance.read_text(sensor):
        return None
    return [Finding("warning", "sensor", "it gives no temperature", "See that the sensor is connected.", str(sensor))]
