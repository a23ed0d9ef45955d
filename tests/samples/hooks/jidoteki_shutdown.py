"""Notes that the service was stopped on purpose."""

from jidoteki.hookspecs import Appliance, hookimpl


@hookimpl
def jidoteki_shutdown(appliance: Appliance) -> None:
    appliance.replace_file(appliance.etc / "stopped.txt", "on purpose\n")
