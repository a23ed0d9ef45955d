"""Fetches the files in static/vendor from the npm registry and verifies them: `make vendor`.

vendor.json records of each: package, version, the file in its archive, the archive's integrity as the registry has it,
and the SHA-256 of the file. Another version is taken by changing version, integrity and sha256 there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Fetch and verify all files.

    :raises SystemExit: one is not what is recorded.
    """
    for name, record in json.loads((HERE / "vendor.json").read_text()).items():
        with tempfile.TemporaryDirectory() as directory:
            wanted = f"{record['package']}@{record['version']}"
            subprocess.run(["npm", "pack", "--silent", wanted], cwd=directory, check=True, stdout=subprocess.DEVNULL)
            (archive,) = Path(directory).iterdir()
            digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if digest != record["integrity"]:
                raise SystemExit(f"{wanted} has the integrity {digest}, and not {record['integrity']}")
            _take(archive, record["file"], HERE / "static/vendor" / name, record["sha256"])
            _take(archive, "package/LICENSE", HERE / "static/vendor" / record["licence-file"])


def _take(archive: Path, member: str, path: Path, sha256: str | None = None) -> None:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(member)
        if file is None:
            raise SystemExit(f"{archive.name} has no {member}")
        content = file.read()
    if sha256 not in (None, found := hashlib.sha256(content).hexdigest()):
        raise SystemExit(f"{member} has the SHA-256 {found}, and not {sha256}")
    path.write_bytes(content)


if __name__ == "__main__":
    main()
