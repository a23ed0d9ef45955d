"""Shows a daemon that keeps its process id in a file."""

from jidoteki.hookspecs import Appliance, hookimpl


@hookimpl
def jidoteki_services(appliance: Appliance) -> list[tuple[str, bool]]:
    pid = appliance.read_text(appliance.root / "run/collector.pid")
    return [("collector", pid is not None)]
