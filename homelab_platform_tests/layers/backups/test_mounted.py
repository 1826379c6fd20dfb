"""A share or a stick is found where it is mounted, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.layers.backups.mounted import mounted_at

MOUNTS = """\
/dev/vda / ext4 rw 0 0
nas:/volume1 /mnt/nas nfs4 rw 0 0
nas:/volume10 /mnt/ten nfs4 rw 0 0
//nas/backup /mnt/my\\040share cifs rw 0 0
192.168.0.10:/volume1/backup /mnt/backup nfs rw 0 0
"""


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("nfs://nas/volume1", "/mnt/nas"),
        ("nfs://nas/volume1/lab", "/mnt/nas/lab"),
        ("nfs://nas/volume10/lab", "/mnt/ten/lab"),
        ("nfs://nas/volume2", None),
        ("nfs://other/volume1", None),
        ("nfs://192.168.0.10/volume1/backup", "/mnt/backup"),
        ("smb://nas/backup", "/mnt/my share"),
        ("smb://nas/backup/lab", "/mnt/my share/lab"),
        ("smb://nas/volume1", None),
        ("usb://LABBACKUP", None),
    ],
)
def test_an_address_leads_to_where_it_is_mounted(url: str, place: str | None, tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    found = mounted_at(url, tmp_path / "mounts", tmp_path)
    assert found == (Path(place) if place else None)


def test_a_stick_is_known_by_its_label_and_the_later_mount_counts(tmp_path: Path) -> None:
    (tmp_path / "sdb1").touch()
    (tmp_path / "LABBACKUP").symlink_to(tmp_path / "sdb1")
    (tmp_path / "mounts").write_text(
        f"{tmp_path}/sdb1 /mnt/old ext4 rw 0 0\n{tmp_path}/sdb1 /media/stick ext4 rw 0 0\n"
    )
    assert mounted_at("usb://LABBACKUP", tmp_path / "mounts", tmp_path) == Path("/media/stick")
