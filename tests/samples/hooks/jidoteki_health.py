"""Shows the temperature, which the kernel gives in thousandths of a degree."""

from typing import Any

from jidoteki.hookspecs import Appliance, hookimpl


@hookimpl
def jidoteki_health(appliance: Appliance) -> dict[str, Any] | None:
    reading = appliance.read_text(appliance.root / "sys/class/thermal/thermal_zone0/temp")
    return None if reading is None else {"celsius": int(reading) / 1000}
