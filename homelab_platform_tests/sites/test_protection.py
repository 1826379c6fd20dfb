"""Which targets of a lab a site writes to, and why not to the others."""

from __future__ import annotations

from pathlib import Path

from homelab_platform.lab.resolved import ResolvedTarget
from homelab_platform.sites.protection import lab_targets
from homelab_platform_tests.plan.labs import small_lab


def test_folders_are_written_to_and_the_others_say_why_not(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("of the lab\n")
    targets = {
        "disk": ResolvedTarget(name="disk", url="file:///mnt/disk", credentials={"password": "file:key"}),
        "usb": ResolvedTarget(name="usb", url="file:///mnt/usb"),
        "lost": ResolvedTarget(name="lost", url="file:///mnt/lost", credentials={"password": "file:nothing"}),
        "nas": ResolvedTarget(name="nas", url="ssh://backup@nas/volume1"),
    }
    found, away = lab_targets(small_lab(targets=targets), tmp_path, "of the site")
    assert {target.name: (target.folder, target.key) for target in found} == {
        "disk": (Path("/mnt/disk"), "of the lab"),
        "usb": (Path("/mnt/usb"), "of the site"),
    }
    assert away["nas"].startswith("ssh:// targets are not written to")
    assert away.keys() == {"lost", "nas"}
