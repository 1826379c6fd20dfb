"""Moving a site's objects to the other S3 server, on this machine, while the site is down.

Belongs here: copying every bucket and checking the copy before the site changes over. What a bucket is set to
(versions, lifecycle, policy) is not copied: the next `homelab apply` finds it missing and sets it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from homelab_platform.errors import HomelabError
from homelab_platform.servers import engines, minio, seaweedfs
from homelab_platform.servers.site import checks, processes
from homelab_platform.servers.site import engines as site_engines
from homelab_platform.servers.site.files import Layout, Secrets, SiteFile, load_secrets, load_site_file
from homelab_platform.servers.supervise import launch, ports
from homelab_platform.servers.supervise.spec import RunPlan
from homelab_platform.tools.endpoints import ObjectsEndpoint

if TYPE_CHECKING:
    from homelab_platform.tools.objects.client import ObjectStore

SAID_EVERY = 10.0
"""Seconds between lines of progress."""


def move_objects(root: Path, target: str, say: Callable[[str], None]) -> int:
    """Copy all objects of the site below `root` to the S3 server `target`, and have the site use it from now on.

    Returns how many were copied; 0 when they lie there already. The old server's folder stays, renamed, until somebody
    removes it. Raises HomelabError, with the site as it was, when there is no site, when it runs, or when an object
    cannot be copied whole.
    """
    layout = Layout(root.absolute())
    site, credentials = load_site_file(layout), load_secrets(layout)
    if site is None or credentials is None:
        raise HomelabError.of(str(root), "there is no site here", "Start it with `homelab up`.")
    if site.objects == target:
        return 0
    with launch.exclusive(layout.up_lock):
        checks.check_nobody_else(layout)
        if launch.live_state(layout.run) is not None:
            raise HomelabError.of(
                site.lab, "the site runs, and new objects would be missed", "Run `homelab down` first."
            )
        new = replace(site, objects=target, ports={**site.ports, "s3": ports.choose(1, also=seaweedfs.GRPC_OFFSET)[0]})
        engines.install(site_engines.wanted(new), say)
        try:
            copied = _copy(layout, site, new, credentials, say)
        finally:
            launch.stop_supervisor(layout.run, layout.mark)
        _change_over(layout, site, target)
    say(f"{copied:,} objects lie in {target} now")
    return copied


def _copy(layout: Layout, site: SiteFile, new: SiteFile, credentials: Secrets, say: Callable[[str], None]) -> int:
    from homelab_platform.tools.objects.client import ObjectStore

    keys = credentials.objects_access_key, credentials.objects_secret_key
    if new.objects == "minio":
        minio.prepare(layout.minio, *keys)
    else:
        seaweedfs.prepare(layout.objects, *keys)
    both = (
        replace(processes.objects_process(layout, site), name="old"),
        replace(processes.objects_process(layout, new), name="new"),
    )
    launch.make_run_folder(layout.run)
    launch.start_supervisor(layout.run, RunPlan(layout.mark, str(layout.logs), str(layout.secrets_file), both))
    launch.wait_for(layout.run, layout.logs, ("old", "new"), timeout=120)
    ends = [ObjectsEndpoint(f"http://{processes.HOST}:{end.ports['s3']}", *keys) for end in (site, new)]
    with ObjectStore(ends[0]) as source, ObjectStore(ends[1]) as sink:
        return sum(_copy_bucket(source, sink, bucket, say) for bucket in source.buckets())


def _copy_bucket(source: ObjectStore, sink: ObjectStore, bucket: str, say: Callable[[str], None]) -> int:
    """Copy one bucket; an earlier, broken off copy is gone on with. Raises HomelabError when the sizes disagree."""
    sink.ensure_bucket(bucket)
    there = {info.key: info.size for info in sink.list(bucket)}
    sizes: dict[str, int] = {}
    said = time.monotonic()
    for info in source.list(bucket):
        sizes[info.key] = info.size
        if there.get(info.key) != info.size:
            with source.open(bucket, info.key) as body:
                sink.put(bucket, info.key, cast("BinaryIO", body), metadata=body.metadata)
        if time.monotonic() - said > SAID_EVERY:
            said = time.monotonic()
            say(f"{bucket}: {len(sizes):,} objects copied")
    found = {info.key: info.size for info in sink.list(bucket)}
    if found != sizes:
        wrong = sorted(key for key in sizes.keys() | found.keys() if sizes.get(key) != found.get(key))
        raise HomelabError.of(
            f"s3://{bucket}/{wrong[0]}",
            f"{len(wrong)} objects differ after the copy",
            "The site stays where it was. Run this again.",
        )
    return len(sizes)


def _change_over(layout: Layout, site: SiteFile, target: str) -> None:
    old = layout.minio if site.objects == "minio" else layout.objects
    old.rename(old.with_name(f"{old.name}.moved-{time.strftime('%Y%m%d-%H%M%S')}"))
    replace(site, objects=target).save(layout)
