"""What `/backup` shows."""

from __future__ import annotations

STATUS = (
    {"status": "running"},
    {
        "status": "success",
        "filesize": "128.0K",
        "sha256": "6e31a817eb93270848e3c0b3c1d0c2bfa077fbb318f58a2bcbdec8f69f0dd420",
    },
)
STATUS_SCHEMA = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"enum": ["running", "success", "failed"]},
        "filesize": {"type": "string"},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "error-message": {"type": ["string", "null"]},
    },
}
LOG = "[1507206605][LIVE IMAGE] Starting backup\n[1507206606][LIVE IMAGE] Backup complete\n"
