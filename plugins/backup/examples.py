"""Examples of responses of `/backup`."""

from __future__ import annotations

STATUS = (
    {"status": "running"},
    {
        "status": "success",
        "filesize": "128K",
        "sha256": "6e31a817eb93270848e3c0b3c1d0c2bfa077fbb318f58a2bcbdec8f69f0dd420",
    },
)
STATUS_SCHEMA = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"type": "string", "description": "running, success, failed, or what another tool says"},
        "filesize": {"description": "Of the blocks that it takes, as `du -h` shows it"},
        "sha256": {"description": "Of what `/backup/download` sends"},
        "error-message": {"description": "Why it failed"},
        "missing": {"description": "What `backup.txt` lists and is not there"},
        "incomplete": {"description": "The first hundred of what cannot be packed, where that is allowed"},
        "incomplete-count": {"description": "How many there are if they are more"},
    },
}
LOG = (
    "[1507206605][LIVE IMAGE] Validating backup file size\n[1507206605][LIVE IMAGE] Starting backup\n"
    "Created file: /opt/jidoteki/tinyadmin/home/sftp/uploads/backup.tar - size: 128K - "
    "hash: 6e31a817eb93270848e3c0b3c1d0c2bfa077fbb318f58a2bcbdec8f69f0dd420\n"
    "[1507206606][LIVE IMAGE] Backup complete\n"
)
RESTORED = (
    {"Status": "200 OK"},
    {"Status": "200 OK", "warnings": ["'cache' is left out: backup.txt does not list it"]},
    {"Status": "200 OK", "removed": {"files": 4, "paths": ["mail/", "photos/new.jpg", "photos/newer.jpg"]}},
    {"Status": "200 OK", "files": 12, "bytes": 3072, "removes": {"files": 3, "paths": ["mail/", "photos/new.jpg"]}},
)
