"""Pages: public files outside of the API that a plugin serves to browsers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Visit:
    """What a public page may know of the appliance.

    :param setup: `open`, anybody may make the first setup; `passphrase`, it needs the generated passphrase; `done`.
    """

    setup: Literal["open", "passphrase", "done"]


@dataclass(frozen=True, slots=True)
class Page:
    """A file that everybody may read with GET, without a credential, so that it must contain no secret.

    It is sent with a content security policy that allows scripts, styles, images and requests of this origin alone,
    and nothing inline, and compressed where the browser takes that.

    :param path: `/`, or `/name/part`, not below `/api` or `/docs`.
    :param content: its bytes, or a function that makes them, which is called in a thread once for each visit that
        differs and once more after each reload of the configuration.
    :param media: its media type, such as `text/html; charset=utf-8`.
    :param immutable: whether another content will have another path, so that browsers may keep it for ever.
    :param below: whether it is also sent for paths below its own that have no page, and no dot as the names of files.
    """

    path: str
    content: bytes | Callable[[Visit], bytes]
    media: str
    _: KW_ONLY
    immutable: bool = False
    below: bool = False
