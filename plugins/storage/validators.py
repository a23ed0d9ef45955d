"""The validators of `POST /storage` (section 11 of the API reference): each type of storage and its keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Label
from jidoteki.hookspecs.validators import (
    address,
    device,
    json_document,
    mount_options,
    or_number,
    port,
    printable,
    share,
    strict,
    target,
    variants,
)

_IP: Final = vol.Required("ip", description=Label("IP address of the server"))

SCHEMAS: Final[Mapping[str, Mapping[Any, Any]]] = {
    "local": {},
    "nfs": {
        vol.Required("mount_options", description=Label("Mount options")): or_number(mount_options),
        _IP: address,
        vol.Required("share", description=Label("Share")): or_number(share),
    },
    "aoe": {vol.Required("device", description=Label("Device")): or_number(device)},
    "iscsi": {
        vol.Required("target", description=Label("Target")): or_number(target),
        _IP: address,
        vol.Required("username", description=Label("User name")): or_number(printable),
        vol.Required("password", description=Label("Password", secret=True)): or_number(printable),
    },
    "nbd": {
        vol.Required("export_name", description=Label("Export name")): or_number(share),
        _IP: address,
        vol.Required("port", description=Label("Port")): port,
    },
}

OPTIONS: Final = vol.Optional(
    "options", description=Label("Types on offer", "As GET /storage shows it; it makes no difference here")
)


RESTART_NEEDED: Final = vol.Optional(
    "restart-needed", description=Label("Restart needed", "As GET /storage shows it; it makes no difference here")
)

#: What the job is given.
INPUT: Final = vol.Schema({vol.Required("storage"): variants("type", SCHEMAS, label=Label("Type"))})


def settings(offered: Callable[[], Collection[str]]) -> json_document:
    """Return the validator of the settings.

    :param offered: returns the types of storage that the appliance offers.
    """
    storage = variants("type", SCHEMAS, label=Label("Type"), offered=offered)
    return json_document(
        strict(
            {vol.Required("storage", description=Label("Storage")): storage, OPTIONS: object, RESTART_NEEDED: object}
        )
    )
