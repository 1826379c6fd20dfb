"""A site on MinIO, and moving a site's objects from one S3 server to the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.names import silent
from homelab_platform.servers import engines
from homelab_platform.servers.site.files import Layout, load_site_file
from homelab_platform.servers.site.move import move_objects
from homelab_platform.servers.site.site import down, open_site, status, up
from homelab_platform.tools.objects.client import ObjectStore

pytestmark = pytest.mark.servers

LAB = "moving-lab"


def start(objects: str | None = None) -> None:
    up(Path("lab.yaml"), lab_name=LAB, dagster=False, objects=objects)


def stored() -> dict[str, bytes]:
    site = open_site(LAB)
    with ObjectStore(site.lakehouse.objects) as store:
        bucket = site.lakehouse.raw_bucket
        return {found.key: store.get(bucket, found.key) for found in store.list(bucket)}


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_objects_move_to_minio_and_back_and_the_site_refuses_to_start_without_them(
    layout: Layout, minio: object
) -> None:
    start()
    site = open_site(LAB)
    wanted = {f"s/2026-11-21/p/{number:03}.ndjson": b"%d" % number * 1000 for number in range(40)}
    with ObjectStore(site.lakehouse.objects) as store:
        for key, data in wanted.items():
            store.put(site.lakehouse.raw_bucket, key, data, metadata={"homelab-mapping": "{}"})
    with pytest.raises(HomelabError, match=r"the site runs"):
        move_objects(layout.root, "minio", print)
    down(layout.root)
    with pytest.raises(HomelabError, match=r"objects lie in seaweedfs(.|\n)*--move"):
        start("minio")
    assert move_objects(layout.root, "minio", print) >= len(wanted)
    start()
    assert open_site(LAB).objects == "minio"
    assert stored() == wanted
    site = open_site(LAB)
    with ObjectStore(site.lakehouse.objects) as store, store.open(site.lakehouse.raw_bucket, min(wanted)) as body:
        assert body.metadata == {"homelab-mapping": "{}"}
    assert [server.url for server in status(layout.root).servers if server.name == "objects"] == [site.pages()["minio"]]
    down(layout.root)
    assert move_objects(layout.root, "seaweedfs", print) >= len(wanted)
    start()
    assert stored() == wanted
    assert len(list(layout.root.glob("*.moved-*"))) == 2


def test_a_site_remembers_its_profile_and_an_unknown_server_is_named(layout: Layout) -> None:
    layout.make()
    layout.site_file.write_text('{"lab": "x", "lab_path": "y", "profile": "huge"}')
    with pytest.raises(HomelabError, match=r"no such profile or S3 server: huge"):
        load_site_file(layout)


def test_an_engine_that_nobody_knows_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert engines.main(["nope"]) == 1
    assert "There are: mqtt, trino, nifi, minio." in capsys.readouterr().out


def test_every_engine_that_cannot_be_installed_is_named_and_the_others_are_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    def engine(name: str, fails: bool) -> engines.Engine:
        def install(_say: object) -> None:
            if fails:
                raise HomelabError.of(name, "cannot be built")
            done.append(name)

        return engines.Engine(name, name, "", "", lambda: False, install)

    made = {name: engine(name, name != "trino") for name in ("mqtt", "trino", "nifi")}
    monkeypatch.setattr(engines, "ENGINES", made)
    with pytest.raises(HomelabError) as caught:
        engines.install(made, silent)
    assert [problem.where for problem in caught.value.problems] == ["mqtt", "nifi"]
    assert done == ["trino"]
