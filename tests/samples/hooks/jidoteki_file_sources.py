"""A package that lies ready on the appliance takes the place of one that is sent: `update=shelf:NAME`."""

from pathlib import Path

from jidoteki.hookspecs import ApiError, Appliance, FileSource, Request, hookimpl


async def find(request: Request, name: str) -> Path:
    path = request.appliance.spool / "shelf" / name
    if not path.is_file():
        raise ApiError(400, f"There is no {name} on the shelf")
    return path


async def used(request: Request, name: str) -> None:
    (request.appliance.spool / "shelf" / name).unlink()


@hookimpl
def jidoteki_file_sources(appliance: Appliance) -> list[FileSource]:
    return [FileSource("shelf", find, used)]
