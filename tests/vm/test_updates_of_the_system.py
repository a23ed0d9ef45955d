"""Updates by root's units that change what the machine boots with, or take all of its memory."""

from __future__ import annotations

import pytest
from conftest import BuildUpdate
from guestkit import ADMIN, SERVICE
from machinekit import Machine

#: Puts a script into the initial file system of the next boot, which says there that it ran.
NEW_INITRD = """#!/bin/sh
set -e
cat >/etc/initramfs-tools/scripts/init-premount/vendor <<'END'
#!/bin/sh
[ "$1" = prereqs ] || echo {version} >/run/booted-with
END
chmod 755 /etc/initramfs-tools/scripts/init-premount/vendor
update-initramfs -u
"""
EATS = {
    "a program of it": "#!/bin/sh\nset -e\ntail /dev/zero\necho not killed\n",
    "itself": "#!/bin/sh\nexec tail /dev/zero\n",
}
KILLED = {
    "a program of it": "update.sh failed with exit status 137",
    "itself": "update.sh failed with exit status -9",
}


def test_the_machine_boots_with_what_an_update_made(machine: Machine, build_update: BuildUpdate) -> None:
    """`update-initramfs` finds the modules of the kernel, and all that it wrote is on disk when it has succeeded."""
    update = build_update(NEW_INITRD)
    id = machine.begin("/update", "-F", f"update=@{update.path}")
    record = machine.ended(id, 900)
    assert record["status"] == "success", machine.request("GET", "/update/log")[1]

    machine.cut()
    machine.use_own_initrd()
    machine.boot()

    assert machine.sh("cat /run/booted-with").strip() == update.version
    assert machine.json("/version") == {"version": update.version}


@pytest.mark.parametrize("eater", EATS)
def test_an_update_that_takes_all_memory_is_killed_and_the_service_stays(
    machine: Machine, build_update: BuildUpdate, eater: str
) -> None:
    main = f"systemctl show --value --property MainPID {SERVICE}"
    before, version = machine.sh(main), machine.json("/version")
    update = build_update(EATS[eater])

    record = machine.ended(machine.begin("/update", "-F", f"update=@{update.path}"), 600)

    assert (record["status"], record["error-code"]) == ("failed", "E1002")
    assert KILLED[eater] in record["error-message"]
    assert "Out of memory: Killed process" in machine.sh("dmesg")
    assert machine.sh(main) == before, machine.sh(f"journalctl --unit {SERVICE} --lines 40; dmesg | tail -60")
    assert machine.json("/version") == version
    assert record["error-message"] in machine.request("GET", "/update/log")[1]
    assert machine.sh(f"cat {ADMIN}/etc/status_update.txt").split()[:1] == ["failed"]
