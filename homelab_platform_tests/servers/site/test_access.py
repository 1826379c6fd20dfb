"""A site's own processes use keys of their own, and those reach no further than the lab says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from homelab_platform.lab.resolved import ResolvedGrant, ResolvedLab
from homelab_platform.servers.site.files import Layout
from homelab_platform.servers.site.site import down, open_site, up
from homelab_platform.tools.objects.client import CredentialsRefused, ObjectStore
from homelab_platform_tests.plan.labs import small_lab

pytestmark = pytest.mark.servers

LAB = "access-lab"


def the_lab() -> ResolvedLab:
    lab = small_lab()
    access = {
        "collector": ResolvedGrant(right="put", under=("machine/",)),
        "ingest": ResolvedGrant(right="read"),
    }
    raw = lab.buckets["readings-raw"].model_copy(update={"access": access})
    return lab.model_copy(update={"buckets": {**lab.buckets, "readings-raw": raw}})


@pytest.mark.slow
def test_the_collector_writes_with_its_own_key_and_nowhere_else(layout: Layout) -> None:
    up(Path("lab.yaml"), lab_name=LAB, dagster=False, lab=the_lab())
    site = open_site(LAB)
    own, bucket = site.access_for("collector"), site.lakehouse.raw_bucket
    assert own.access_key != site.lakehouse.objects.access_key
    command = (sys.executable, "-m", "homelab_platform.agents.collector.main", "--site", str(layout.root), "--once")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with ObjectStore(site.lakehouse.objects) as store:
        (found,) = store.list(bucket)
    assert found.key.startswith("machine/")
    with ObjectStore(own) as store:
        for key in ("environment/a", "elsewhere"):
            with pytest.raises(CredentialsRefused):
                store.put(bucket, key, b"1")
        with pytest.raises(CredentialsRefused):
            list(store.list(bucket))
        with pytest.raises(CredentialsRefused):
            store.put(site.lakehouse.lake_bucket, "machine/a", b"1")
    assert site.access_for("nobody-of-this-lab") == site.lakehouse.objects
    assert own.secret_key not in layout.site_file.read_text()
    assert down(layout.root)
    up(Path("lab.yaml"), lab_name=LAB, dagster=False, lab=the_lab())
    again = open_site(LAB).access_for("collector")
    assert again.access_key == own.access_key
    with ObjectStore(again) as store:
        store.put(bucket, "machine/after-a-restart", b"1")
