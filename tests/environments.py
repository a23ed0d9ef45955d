"""Virtual environments, made without the network."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from pathlib import Path

OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
COMMANDS = {
    "pip": "from pip._internal.cli.main import main",
    "pytest": "from pytest import main",
    "jidoteki": "from jidoteki.core.cli import main",
    "mypy": "from mypy.__main__ import console_entry as main",
}


def make_environment(directory: Path) -> Path:
    """Make a virtual environment that also sees what is installed in this one, and return its programs' directory."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    (packages,) = directory.glob("lib/python3*/site-packages")
    lines = [f"import site; site.addsitedir({parent!r})" for parent in site.getsitepackages()]
    (packages / "parent.pth").write_text("\n".join(lines) + "\n")
    programs = directory / "bin"
    for name, start in COMMANDS.items():
        (programs / name).write_text(f"#!{programs}/python\nimport sys\n{start}\nsys.exit(main())\n")
        (programs / name).chmod(0o755)
    return programs


def run(programs: Path, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program of an environment, with pip kept off the network."""
    return subprocess.run(
        [programs / argv[0], *argv[1:]], capture_output=True, text=True, timeout=280, env=os.environ | OFFLINE
    )
