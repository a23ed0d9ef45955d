"""`POST /license` replaces the license; `GET /license` shows the content of the active one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jidoteki.hookspecs import ApiError, Appliance, Described, Endpoint, Finding, JobType, Request, Response, hookimpl
from jidoteki.plugins.license import gpg
from jidoteki.plugins.license.gpg import LicenseError
from jidoteki.plugins.license.jobs import INVALID, LICENSE
from jidoteki.plugins.license.programs import ToolError
from jidoteki.plugins.license.reading import LicenseInForce
from jidoteki.plugins.license.validators import PARAMETERS

if TYPE_CHECKING:
    import click

logger = logging.getLogger(__name__)

SAMPLE = {
    "app": "enterprise",
    "users": 20,
    "expires": "19 January 2038",
    "name": "Enterprise Company",
    "contact": "cto@enterprise",
}


class Handlers:
    """The request handlers of an appliance, which share its cached license."""

    def __init__(self, appliance: Appliance) -> None:
        self._in_force = LicenseInForce(appliance)

    async def update(self, request: Request) -> Response:
        """Install a license and return its content."""
        outcome = await request.run_job("license", license=request.values["license"])
        if outcome.status != "success":
            invalid = outcome.error_code == INVALID
            raise ApiError(
                404 if invalid else 400,
                outcome.error_message or f"The license was not changed: the job ended as {outcome.status}",
                field="/license" if invalid else None,
            )
        return {"Status": "200 OK", **outcome.preview} if request.dry_run else await self._document(request)

    async def show(self, request: Request) -> Response:
        """Return the content of the active license."""
        return await self._document(request)

    async def _document(self, request: Request) -> dict[str, Any]:
        try:
            return await self._in_force.get(request.host_config["limits"]["command"])
        except LicenseError as error:
            raise ApiError(404, str(error)) from error
        except ToolError as error:
            raise ApiError(503, str(error)) from error


@hookimpl
def jidoteki_jobs(appliance: Appliance) -> list[JobType]:
    """Return the job type that installs a license."""
    return [LICENSE]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    """Return both methods of `/license`."""
    handlers = Handlers(appliance)
    says = Described("What the license says", {"type": "object"}, (SAMPLE,))
    posted = Described(
        "What the license says; for a dry run, the status and what would change", {"type": "object"}, (SAMPLE,)
    )
    failed = {404: "The license is not valid", 503: "Licenses cannot be read"}
    return [
        Endpoint(
            "POST",
            "/license",
            handlers.update,
            parameters=PARAMETERS,
            responses={200: posted, **failed, 400: "The license is missing or cannot be stored"},
            summary="Replace the license",
            starts="license",
        ),
        Endpoint("GET", "/license", handlers.show, responses={200: says, **failed}, summary="What the license says"),
    ]


@hookimpl
def jidoteki_check(appliance: Appliance, host_config: Mapping[str, Any]) -> list[Finding]:
    """Check whether the license can be read."""
    from jidoteki.plugins.license import checking

    return list(checking.check(appliance, host_config["limits"]["command"]))


@hookimpl
def jidoteki_commands(cli: click.Group) -> None:
    """Add `jidoteki license`."""
    # Imported late: the service does not need it.
    from jidoteki.plugins.license.commands import license

    cli.add_command(license)


@hookimpl
def jidoteki_init(appliance: Appliance, vendor: Path) -> None:
    """Create the keys of the appliance and of its vendor, and a sample license."""
    try:
        secret, public = gpg.make_keys("Appliance")
        vendor_secret, vendor_public = gpg.make_keys("Vendor")
        license = gpg.make_license(SAMPLE, public.encode(), vendor_secret.encode())
    except ToolError as error:
        logger.warning("There is no sample license: %s", error)
        return
    appliance.replace_file(appliance.etc / "license.key", secret, mode=0o600)
    appliance.replace_file(appliance.etc / "license.pub", vendor_public)
    appliance.replace_file(appliance.etc / "license.asc", license, mode=0o600)
    appliance.replace_file(vendor / "appliance.pub.asc", public)
    appliance.replace_file(vendor / "license-signing.asc", vendor_secret, mode=0o600)
    appliance.replace_file(vendor / "license-sample.asc", license)
