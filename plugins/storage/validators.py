"""The validators of `POST /storage` (section 11 of the API reference): each type of storage and its keys."""

from __future__ import annotations

from typing import Final

import voluptuous as vol

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

STORAGE: Final = variants(
    "type",
    {
        "local": {},
        "nfs": {
            vol.Required("mount_options"): or_number(mount_options),
            vol.Required("ip"): address,
            vol.Required("share"): or_number(share),
        },
        "aoe": {vol.Required("device"): or_number(device)},
        "iscsi": {
            vol.Required("target"): or_number(target),
            vol.Required("ip"): address,
            vol.Required("username"): or_number(printable),
            vol.Required("password"): or_number(printable),
        },
        "nbd": {
            vol.Required("export_name"): or_number(share),
            vol.Required("ip"): address,
            vol.Required("port"): port,
        },
    },
)

OPTIONS: Final = vol.Optional("options", description="As GET /storage shows it; it makes no difference here")

SETTINGS: Final = json_document(strict({vol.Required("storage"): STORAGE, OPTIONS: object}))
