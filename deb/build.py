"""Make the Debian package: `python deb/build.py --suite bookworm --architecture amd64 --output dist`.

It needs uv and dpkg-deb, and neither root nor debhelper. The same commit gives the same bytes: the time of each file is
that of the commit, or `$SOURCE_DATE_EPOCH`.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from command_pages import COMPLETIONS, manual_page

ROOT: Final = Path(__file__).absolute().parent.parent
PACKAGE: Final = "jidoteki-admin-api"
UNIT: Final = f"{PACKAGE}.service"
JOB_UNIT: Final = "jidoteki-job@.service"
POLICY: Final = "jidoteki-job.rules"
#: For other supervisors: in the documentation, with what starts the service in each, as pip installs it.
OTHERS: Final = {
    f"{PACKAGE}.initd": "command=/usr/local/bin/jidoteki\n",
    f"{PACKAGE}.openrc": "command=/usr/local/bin/jidoteki\n",
    f"{PACKAGE}.runit": "exec /usr/local/bin/jidoteki serve\n",
}
VENV: Final = Path("opt/jidoteki/venv")
MAINTAINER: Final = "The Jidoteki Admin API contributors <jidoteki-admin-api@localhost>"


class Suite(NamedTuple):
    """A release of Debian: its number, and its version of Python 3."""

    number: int
    python: str


SUITES: Final = {"bookworm": Suite(12, "3.11"), "trixie": Suite(13, "3.13")}
#: The architectures of Debian, as uv calls them. The glibc of both suites is newer.
PLATFORMS: Final = {"amd64": "x86_64-manylinux_2_34", "arm64": "aarch64-manylinux_2_34"}

#: `libgcc-s1` and `libstdc++6` are of the wheels; `dbus` carries what `polkitd` lets the service ask of systemd.
DEPENDS: Final = "python{python}, libc6 (>= 2.34), libgcc-s1, libstdc++6, openssl, dbus, polkitd, systemd (>= 250)"

LAUNCHER: Final = f"""#!/{VENV}/bin/python3 -I
from jidoteki.core.cli import main

main(prog_name="jidoteki")
"""


def main() -> None:
    """Build the package and print its path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=SUITES, default="bookworm")
    parser.add_argument("--architecture", choices=PLATFORMS, default="amd64")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    wanted = parser.parse_args()
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="deb-") as work:
        print(build(Path(work), SUITES[wanted.suite], wanted.architecture, wanted.output))


def build(work: Path, suite: Suite, architecture: str, output: Path) -> Path:
    """Build the package for one suite and architecture below `output`, and return its path."""
    os.environ["SOURCE_DATE_EPOCH"] = epoch()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] + f"+deb{suite.number}"
    stage = work / "stage"
    make_environment(stage, suite.python, PLATFORMS[architecture], make_wheel(work))
    _copy_files(stage, version)
    _write_control(stage, suite, architecture, version)
    for path in (stage, *stage.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or is_program(path) else 0o644)
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{PACKAGE}_{version}_{architecture}.deb"
    run("dpkg-deb", "--root-owner-group", "-Zxz", "-z3", "--build", stage, target)
    return target


def epoch() -> str:
    """Return the time that all files get."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return given or run("git", "-C", ROOT, "log", "-1", "--format=%ct").strip()


def make_wheel(work: Path) -> Path:
    """Build the service's wheel of the files that git knows, in a copy, because building leaves files behind."""
    source = work / "source"
    for name in run("git", "-C", ROOT, "ls-files", "-z").split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith(("tests/", "bench/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", work / "wheel", source)
    return work / "wheel"


def make_environment(stage: Path, python: str, platform: str, wheel: Path, home: str = "/usr/bin") -> None:
    """Make the virtual environment, with the versions of the lock and no others.

    :param python: the version of Python that it is for, which lies in `home`.
    """
    environment = stage / VENV
    packages = environment / f"lib/python{python}/site-packages"
    install = (
        shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "uv", "pip", "install",
        "--quiet", "--no-config", "--target", packages, "--python-version", python, "--python-platform", platform,
        "--only-binary", ":all:", "--link-mode", "copy",
    )  # fmt: skip
    run(*install, "--require-hashes", "-r", ROOT / "requirements-runtime.txt")
    run(*install, "--no-deps", "--no-index", "--find-links", wheel, PACKAGE)
    shutil.rmtree(packages / "bin", ignore_errors=True)  # commands of the dependencies, which nobody calls
    (packages / ".lock").unlink(missing_ok=True)
    _forget_caches(packages)
    (environment / "bin").mkdir()
    (environment / "bin/python3").symlink_to(f"{home}/python{python}")
    (environment / "bin/python").symlink_to("python3")
    (environment / "bin/jidoteki").write_text(LAUNCHER)
    (environment / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")


def _forget_caches(packages: Path) -> None:
    """Remove what uv notes about the very file that a package came from, which differs each time."""
    for cache in packages.glob("*.dist-info/uv_cache.json"):
        record = cache.with_name("RECORD")
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if f"/{cache.name}," not in line))
        cache.unlink()


def _copy_files(stage: Path, version: str) -> None:
    """Add what belongs outside of the environment."""
    unit = _of_package(UNIT, "ExecStart=/usr/local/bin/jidoteki serve\n")
    add(stage, f"usr/lib/systemd/system/{UNIT}", unit)
    add(stage, f"usr/lib/systemd/system/{JOB_UNIT}", (ROOT / "etc" / JOB_UNIT).read_text())
    add(
        stage, f"usr/lib/systemd/system/system.slice.d/{PACKAGE}.conf", (ROOT / f"etc/{PACKAGE}.slice.conf").read_text()
    )
    add(stage, f"usr/share/polkit-1/rules.d/50-{POLICY}", (ROOT / "etc" / POLICY).read_text())
    add(stage, f"usr/lib/systemd/system/{PACKAGE}.socket", (ROOT / f"etc/{PACKAGE}.socket").read_text())
    for kind in ("sysusers", "tmpfiles"):
        add(stage, f"usr/lib/{kind}.d/{PACKAGE}.conf", (ROOT / f"etc/{PACKAGE}.{kind}.conf").read_text())
    share = f"usr/share/doc/{PACKAGE}"
    add(stage, f"{share}/copyright", (ROOT / "LICENSE").read_text())
    _add_compressed(stage, f"{share}/changelog.gz", (ROOT / "CHANGELOG.md").read_text())
    add(stage, f"{share}/examples/jidoteki-admin-api.json", (ROOT / "etc/jidoteki-admin-api.json").read_text())
    for name, command in OTHERS.items():
        add(stage, f"{share}/examples/{name}", _of_package(name, command))
    _add_compressed(stage, "usr/share/man/man1/jidoteki.1.gz", manual_page(version, int(epoch())))
    for path, completion in COMPLETIONS.items():
        add(stage, path, completion())
    (stage / "usr/bin").mkdir()
    (stage / "usr/bin/jidoteki").symlink_to(f"/{VENV}/bin/jidoteki")


def _of_package(name: str, command: str) -> str:
    """Return a file of `etc` that starts the command where the package has it."""
    text = (ROOT / "etc" / name).read_text()
    if command not in text:
        raise SystemExit(f"etc/{name} has no line {command}")
    return text.replace(command, command.replace("/usr/local/", "/usr/"))


def _write_control(stage: Path, suite: Suite, architecture: str, version: str) -> None:
    size = sum(path.lstat().st_size for path in stage.rglob("*") if path.is_file()) // 1024
    control = {
        "Package": PACKAGE,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": MAINTAINER,
        "Installed-Size": size,
        "Depends": DEPENDS.format(python=suite.python),
        "Recommends": "gnupg",
        "Section": "admin",
        "Priority": "optional",
        "Description": "administration API of an appliance\n"
        " Set up, update, configure, back up, diagnose and reboot an appliance over HTTPS, with nothing but curl.",
    }
    add(stage, "DEBIAN/control", "".join(f"{key}: {value}\n" for key, value in control.items()))
    for script in ("preinst", "postinst", "prerm", "postrm"):
        add(stage, f"DEBIAN/{script}", (ROOT / "deb" / script).read_text())


def is_program(path: Path) -> bool:
    return path.parent.name == "bin" or (path.parent.name == "DEBIAN" and path.name != "control")


def add(stage: Path, name: str, content: str | bytes) -> None:
    path = stage / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _add_compressed(stage: Path, name: str, content: str) -> None:
    add(stage, name, gzip.compress(content.encode(), 9, mtime=0))


def run(*argv: str | Path) -> str:
    """Run a program and return its standard output; what it says else is shown if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(argv[0]).name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
