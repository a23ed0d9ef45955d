"""Updates whose record a power cut left empty: what else lies there of them is enough to go on."""

from __future__ import annotations

from pathlib import Path

from rebootkit import Rebooting

from jidoteki.testing import MakeHost, wait_until

VERIFIED_ONCE = '[ "$(grep -c verify "$JIDO_ADMIN_PATH/ran")" = 1 ]\n'
BACK = "verify.sh failed with exit status 1. The former version is back"


def test_an_update_goes_on_and_is_rolled_back(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    rebooting = Rebooting(jidoteki_host)
    described = {"rollback-reboot": False}
    id = rebooting.post(tmp_path, described, update="", verify=VERIFIED_ONCE, rollback="")
    rebooting.goes_down()
    rebooting.go_down(id)
    (rebooting.host.appliance.jobs / f"{id}.json").write_text("")

    rebooting.come_back()

    job = rebooting.ended(id)
    assert (job["status"], job["error-code"], job["error-message"]) == ("failed", "E2003", BACK)
    assert rebooting.ran == ["update", "verify", "verify", "rollback"]
    assert rebooting.live == "old"
    wait_until(lambda: "E2003" in rebooting.host.get("/health").text)
    rebooting.host.assert_audited("change.failed", "update E2003")
