"""Make the extension for TinyCore of 64 bit: `python deb/tcz.py --output dist`.

It needs uv and mksquashfs (of squashfs-tools), and not root. As with the Debian package, the same commit gives the same
bytes. The files beside the extension are those that TinyCore's loader and its users look for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from build import PACKAGE, PLATFORMS, ROOT, VENV, add, epoch, is_program, make_environment, make_wheel, run

#: The extensions that it needs. Python is in /usr/local/bin, as all that comes by extensions.
PYTHON: Final = "3.11"
NEEDED: Final = (f"python{PYTHON}.tcz", "openssl.tcz")
HOME: Final = "/usr/local/bin"
INSTALLED: Final = (
    "#!/bin/sh\n# Called once the extension is loaded. An appliance that is none yet is made one, for root.\n"
)
PROVISION: Final = "/usr/local/bin/jidoteki provision --user root\n"


def main() -> None:
    """Build the extension and print its path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    output = parser.parse_args().output
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="tcz-") as work:
        print(build(Path(work), output))


def build(work: Path, output: Path) -> Path:
    """Build the extension and the files beside it below `output`, and return its path."""
    os.environ["SOURCE_DATE_EPOCH"] = epoch()  # mksquashfs takes it for the image itself
    stage = work / "stage"
    make_environment(stage, PYTHON, PLATFORMS["amd64"], make_wheel(work), HOME)
    add(stage, f"usr/local/etc/init.d/{PACKAGE}", (ROOT / f"etc/{PACKAGE}.initd").read_text())
    add(stage, f"usr/local/share/doc/{PACKAGE}/LICENSE", (ROOT / "LICENSE").read_text())
    (stage / "usr/local/bin").mkdir()
    (stage / "usr/local/bin/jidoteki").symlink_to(f"/{VENV}/bin/jidoteki")
    for path in (stage, *stage.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or is_program(path) or path.parent.name == "init.d" else 0o644)
        os.utime(path, (int(epoch()), int(epoch())), follow_symlinks=False)
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{PACKAGE}.tcz"
    target.unlink(missing_ok=True)
    run("mksquashfs", stage, target, "-all-root", "-no-xattrs", "-noappend", "-b", "4096", "-quiet", "-no-progress")
    _describe(stage, target)
    return target


def _describe(stage: Path, target: Path) -> None:
    """Write what stands beside an extension."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    fields = {
        "Title": target.name,
        "Description": "administration API of an appliance",
        "Version": version,
        "Author": "The Jidoteki Admin API contributors",
        "Original-site": "see the documentation",
        "Copying-policy": "see LICENSE",
        "Size": f"{target.stat().st_size // 1024}K",
        "Extension_by": "the vendor of the appliance",
        "Tags": "administration API HTTPS",
        "Comments": f"Start it by /usr/local/etc/init.d/{PACKAGE} start",
    }
    files = sorted(f"/{path.relative_to(stage)}" for path in stage.rglob("*") if path.is_symlink() or not path.is_dir())
    beside = {
        "info": "".join(f"{f'{name}:':<17}{value}\n" for name, value in fields.items()),
        "md5.txt": f"{hashlib.md5(target.read_bytes(), usedforsecurity=False).hexdigest()}  {target.name}\n",
        "dep": "".join(f"{each}\n" for each in NEEDED),
        "list": "".join(f"{each}\n" for each in files),
    }
    for name, text in beside.items():
        target.with_name(f"{target.name}.{name}").write_text(text)


if __name__ == "__main__":
    main()
