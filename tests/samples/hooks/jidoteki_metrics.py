"""Shows the temperature to a monitoring system."""

from jidoteki.hookspecs import Appliance, Metric, Sample, hookimpl


@hookimpl
def jidoteki_metrics(appliance: Appliance) -> list[Metric]:
    reading = appliance.read_text(appliance.root / "sys/class/thermal/thermal_zone0/temp")
    samples = [] if reading is None else [Sample(int(reading) / 1000, {"zone": "0"})]
    return [Metric("thermal_temperature_celsius", "gauge", "How warm it is.", samples)]
