"""Writing a host's image to a card: what is refused, what has to be confirmed, then the write.

Belongs here: the judgement about a disk. Not here: what a disk is (tools/disks/probe.py), how it is written
(tools/disks/write.py), prompts (cli/image_commands.py).
"""

from __future__ import annotations

from homelab_platform.errors import HomelabError
from homelab_platform.tools.disks.medium import open_medium
from homelab_platform.tools.disks.probe import Disk, look
from homelab_platform.tools.disks.source import Image
from homelab_platform.tools.disks.write import Progress, Written, too_small, write_image


def check_disk(disk: Disk, image: Image) -> None:
    """Raises HomelabError, with everything that is wrong, for a disk that is not written to whatever is confirmed."""
    for is_wrong, what, remedy in (
        (disk.runs_this_machine, "is the disk that this machine runs from", "Name the card: lsblk lists the disks."),
        (disk.kind == "part", "is a partition; an image is a whole disk", f"Name the disk: {disk.parent}."),
        (bool(disk.mounts), f"is mounted at {', '.join(disk.mounts)}", f"Unmount it: sudo umount {disk.path}*"),
        (bool(disk.users), f"is in use by {', '.join(disk.users)}", "Stop the LVM, RAID or encryption on it first."),
        (disk.read_only, "is write-protected", "Move the card's lock, or take another reader."),
        (disk.size == 0, "holds no card", "Put the card in."),
    ):
        if is_wrong:
            raise HomelabError.of(disk.path, what, remedy)
    if disk.size < image.size:
        raise too_small(disk.path, disk.size, image)


def needs_typed_confirmation(disk: Disk) -> bool:
    """Whether the disk holds something that a person may want back; an unfinished write of ours is nothing of it."""
    return bool(disk.holds) or not (disk.blank or disk.unfinished)


def holdings(disk: Disk) -> str:
    """What is on a disk, in a few words."""
    if disk.holds:
        return ", ".join(disk.holds)
    if disk.unfinished:
        return "an image that was not written to its end"
    return "nothing" if disk.blank else "data of an unknown kind"


def flash(disk: Disk, image: Image, progress: Progress) -> Written:
    """Write the image. The disk is looked at once more, so that another card in the reader is noticed.

    Raises HomelabError if it changed, cannot be written, or reads back other bytes.
    """
    with open_medium(disk.path) as medium:
        if look(disk.path) != disk:
            raise HomelabError.of(disk.path, "is another disk now, or holds something else", "Start again.")
        written = write_image(medium, image, progress)
        medium.read_partitions()
    return written
