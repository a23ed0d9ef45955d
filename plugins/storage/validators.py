"""What `POST /storage` accepts (section 11 of the API reference): each type of storage and its keys."""

from __future__ import annotations

from typing import Final

import voluptuous as vol

from jidoteki.hookspecs.validators import (
    address,
    device,
    json_document,
    mount_options,
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
            vol.Required("mount_options"): mount_options,
            vol.Required("ip"): address,
            vol.Required("share"): share,
        },
        "aoe": {vol.Required("device"): device},
        "iscsi": {
            vol.Required("target"): target,
            vol.Required("ip"): address,
            vol.Required("username"): printable,
            vol.Required("password"): printable,
        },
        "nbd": {
            vol.Required("export_name"): share,
            vol.Required("ip"): address,
            vol.Required("port"): port,
        },
    },
)

SETTINGS: Final = json_document(strict({vol.Required("storage"): STORAGE}))
