"""A host's folders as an item, on a real host: saved, proven, put back; red where a copy could not be of one moment."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolve.backups import K3S_SQLITE
from homelab_platform.lab.resolved import ResolvedBackup, ResolvedCluster
from homelab_platform.layers.backups.host_commands import COPY, NO_SQLITE, WORK
from homelab_platform.layers.backups.host_files import (
    HostFilesItem,
    database_rows,
    differing,
    lay_down,
    rehearse_host_files,
    tar_sums,
)
from homelab_platform.layers.backups.manifest import load_manifest
from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.names import silent
from homelab_platform.operations.backup import BackupRequest, backup
from homelab_platform.operations.coverage import coverage
from homelab_platform.operations.drill import drill
from homelab_platform.operations.restore import plan_restore, restore
from homelab_platform.operations.site import Item
from homelab_platform.plan.gather import desired_states
from homelab_platform.sites.host_backups import K3S, host_items
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform.tools.ssh.client import Ssh, opened
from homelab_platform.tools.ssh.target import SshAccess, Target
from homelab_platform_tests.operations.protection import protection
from homelab_platform_tests.plan.labs import host as lab_host
from homelab_platform_tests.plan.labs import small_lab
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.host import TestHost
from homelab_platform_tests.testlab.hosts import HostSpec

ITEM, HOME = "host/b-1", "/var/lib/hass"
WRITER = f"""
import sqlite3, time
database = sqlite3.connect("{HOME}/home.db", isolation_level=None, timeout=60)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE IF NOT EXISTS moves (amount INTEGER)")
number = 0
while True:
    number += 1
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO moves VALUES (?)", (number,))
    database.execute("INSERT INTO moves VALUES (?)", (-number,))
    database.execute("COMMIT")
    with open("{HOME}/home.log", "a") as log:
        log.write("moved\\n")
    time.sleep(0.002)
"""
TREE = f"""
set -e
mkdir -p {HOME}/conf {HOME}/empty
printf 'port: 8123\\n' >{HOME}/conf/main.yaml
printf x >"{HOME}/conf/a name
of two lines"
chown 1234:4321 {HOME}/conf/main.yaml && chmod 640 {HOME}/conf/main.yaml
ln -s conf/main.yaml {HOME}/link
head -c 512 /dev/zero >{HOME}/conf/no-database
cat >/root/writer.py
setsid python3 /root/writer.py >/root/writer.out 2>&1 </dev/null &
echo $! >/root/writer.pid
"""


@pytest.fixture(scope="module")
def host() -> Iterator[TestHost]:
    running = testlab.start(specs=(HostSpec("b-1"),))
    one = running.host("b-1")
    one.ssh(TREE, text=WRITER)
    one.ssh(f"for i in $(seq 300); do [ -s {HOME}/home.log ] && exit; sleep 0.2; done; cat /root/writer.out; exit 1")
    yield one
    one.ssh("kill $(cat /root/writer.pid)", check=False)
    running.leave()


@pytest.fixture
def item(host: TestHost, tmp_path: Path) -> Item:
    """The host's folder as an item."""
    access = SshAccess(host.known_hosts, host.key, sockets=tmp_path / "s")

    def opening() -> AbstractContextManager[Ssh]:
        return opened(Target("b-1", host.address, host.user), access)

    copier = HostFilesItem(ITEM, (HOME,), opening)
    return Item(copier, rehearse_host_files, partial(lay_down, opening=opening))


@pytest.mark.testlab
@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_host_is_saved_under_a_writer_proven_and_put_back(
    host: TestHost, item: Item, tmp_path: Path, postgres_endpoint: PostgresEndpoint
) -> None:
    with protection(tmp_path, postgres_endpoint, {ITEM: item}) as site:
        backup(site, BackupRequest(ITEM), silent)
        manifest = load_manifest(site.stage(ITEM))
        assert drill(site, ITEM, "site", silent).passed
        assert [row.state for row in coverage(site)] == ["proven"]
        assert manifest.tables[HOME].count == 4, "three files and a database; no log, no write-ahead log"
        moves = manifest.tables[f"{HOME}/home.db moves"].count
        assert moves, "the writer had begun"
        assert moves % 2 == 0, "a move is saved whole or not at all"

        (choice,) = plan_restore(site, [ITEM])
        (said, _) = restore(site, choice, silent)
        place = said.split()[4]
        find = "find conf link empty home.db -printf '%y %m %U %G %l %p;'"
        listed = [sorted(host.ssh(f"cd {at} && {find}").stdout.split(";")) for at in (HOME, f"{place}{HOME}")]
        assert listed[0] == listed[1], "kinds, modes, owners and links are those of the live folder"
        total = f"import sqlite3; print(*sqlite3.connect('{place}{HOME}/home.db').execute({TOTAL!r}).fetchone())"
        assert host.ssh(f'python3 -c "{total}"').stdout.split() == [str(moves), "0"]
        assert not host.ssh("ls -d /var/lib/homelab-backup", check=False).stdout, "nothing of the backup stays there"


TOTAL = "SELECT count(*), sum(amount) FROM moves"


K3S_TREE = f"""
set -e
mkdir -p {K3S}/db {K3S}/tls {K3S}/cred
echo K10secret::server:token >{K3S}/token && chmod 600 {K3S}/token
echo key >{K3S}/tls/server-ca.key && echo hash >{K3S}/cred/passwd
python3 - <<'END'
import sqlite3
kine = sqlite3.connect("{K3S}/db/state.db")
kine.execute("PRAGMA journal_mode = WAL")
kine.execute("CREATE TABLE IF NOT EXISTS kine (name TEXT)")
kine.executemany("INSERT INTO kine VALUES (?)", [("/registry/secrets/%d" % n,) for n in range(500)])
kine.commit()
END
"""


@pytest.mark.testlab
@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_datastore_of_k3s_is_saved_with_its_token_and_keys_or_not_at_all(
    host: TestHost, tmp_path: Path, postgres_endpoint: PostgresEndpoint
) -> None:
    host.ssh(K3S_TREE)
    ssh = SshAccess(host.known_hosts, host.key, sockets=tmp_path / "s")
    access = HostAccess(ssh, tmp_path / "hosts", user=host.user, addresses={"b-1": host.address})
    planned = ResolvedBackup(name="k3s", item="cluster", method=K3S_SQLITE, targets=(), schedule="30 2 * * *")
    cluster = ResolvedCluster(version="v1.33.4+k3s1", servers=("b-1",))
    lab = small_lab(hosts={"b-1": lab_host("b-1", os="debian")}, cluster=cluster, backups={"k3s": planned})
    assert desired_states(lab)["backup/k3s"].kinds == (K3S_SQLITE, "ssh")
    with protection(tmp_path, postgres_endpoint, host_items(lab, lambda: access)) as site:
        backup(site, BackupRequest("cluster"), silent)
        manifest = load_manifest(site.stage("cluster"))
        assert manifest.tables[f"{K3S}/db/state.db kine"].count == 500
        assert manifest.tables[f"{K3S}/token"].count == 1
        assert drill(site, "cluster", "site", silent).passed
        (choice,) = plan_restore(site, ["cluster"])
        place = restore(site, choice, silent)[0].split()[4]
        assert host.ssh(f"cat {place}{K3S}/token {place}{K3S}/tls/server-ca.key").stdout.split()[-1] == "key"
        assert host.ssh(f"stat -c %a {place}{K3S}/token").stdout.strip() == "600"

        host.ssh(f"mv {K3S}/token {K3S}/token.away")
        with pytest.raises(HomelabError, match=r"server/token is missing"):
            backup(site, BackupRequest("cluster"), silent)
        assert [row.state for row in coverage(site)] == ["failed"]


@pytest.mark.testlab
@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_cannot_be_of_one_moment_is_red(host: TestHost, item: Item, tmp_path: Path) -> None:
    copier = item.copier
    assert isinstance(copier, HostFilesItem)
    stage = tmp_path / "stage"
    changing = f"while :; do date +%N >{HOME}/conf/changes; sleep 0.01; done"
    host.ssh(f"setsid sh -c '{changing}' >/dev/null 2>&1 </dev/null & echo $! >/root/changing.pid")
    host.ssh(f"for i in $(seq 300); do [ -e {HOME}/conf/changes ] && exit; sleep 0.1; done; exit 1")
    try:
        with pytest.raises(HomelabError, match="files change while they are copied: /var/lib/hass/conf/changes"):
            copier.capture(stage, "a-run", silent)
    finally:
        host.ssh(f"kill $(cat /root/changing.pid); rm {HOME}/conf/changes", check=False)

    for folder, fault in (("/var/lib/nothing", "is missing"), (f"{HOME}/empty", "holds no file")):
        with pytest.raises(HomelabError, match=f"{folder} {fault}"):
            HostFilesItem(ITEM, (HOME, folder), copier.opening).capture(stage, "a-run", silent)

    with copier.opening() as ssh, pytest.raises(HomelabError, match="fetching failed with code 3"):
        ssh.fetch("head -c 100000 /dev/zero; exit 3", tmp_path / "half", timeout=60, doing="fetching")


def test_an_archive_that_ended_early_or_a_damaged_database_is_found(tmp_path: Path) -> None:
    names = ("first.db", "second")
    with closing(sqlite3.connect(tmp_path / names[0])) as database:
        database.execute("CREATE TABLE moves (amount INTEGER)")
        database.executemany("INSERT INTO moves VALUES (?)", [(n,) for n in range(5000)])
        database.commit()
    (tmp_path / names[1]).write_bytes(b"x" * 3000)
    archive = tmp_path / "a.tar"
    subprocess.run(["tar", "-cf", archive, *names], cwd=tmp_path, check=True)
    whole, text = tar_sums(archive), archive.read_bytes()
    size = (tmp_path / names[0]).stat().st_size
    for length in (512 + size // 2, 512 + size, 1024 + size, 1024 + size + 2999):
        archive.write_bytes(text[:length])
        try:
            assert differing(whole, tar_sums(archive))
        except HomelabError as error:
            assert "ended early" in str(error)

    damaged = bytearray((tmp_path / names[0]).read_bytes())
    damaged[4096 + 8 : 4096 + 600] = b"\xff" * 592
    (tmp_path / names[0]).write_bytes(damaged)
    subprocess.run(["tar", "-cf", archive, names[0]], cwd=tmp_path, check=True)
    with pytest.raises(HomelabError, match=r"first\.db: SQLite"):
        database_rows(archive, tmp_path / "look")
    assert not (tmp_path / "look").exists()


def test_a_host_without_sqlite3_copies_by_python_and_says_so_if_it_has_neither(tmp_path: Path) -> None:
    programs = ("rm", "mkdir", "cat", "xargs", "sh", "find", "sha256sum", "dirname", "mv", "chown", "chmod")
    (tmp_path / "bin").mkdir()
    for program in programs:
        (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
    (tmp_path / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    source, work = tmp_path / "a b%20.db", tmp_path / "work"
    script = COPY.replace(WORK, str(work))

    def copied() -> int:
        words = ["/bin/sh", "-c", script]
        environment = {"PATH": str(tmp_path / "bin")}
        return subprocess.run(words, input=f"{source}\0".encode(), env=environment, check=False).returncode

    with closing(sqlite3.connect(source)) as live:
        live.execute("PRAGMA journal_mode = WAL")
        live.execute("CREATE TABLE moves (amount INTEGER)")
        live.execute("INSERT INTO moves VALUES (1)")
        live.commit()
        assert copied() == 0
    with closing(sqlite3.connect(f"{work}/tree{source}")) as copy:
        assert copy.execute("SELECT count(*) FROM moves").fetchone() == (1,), "what is in the write-ahead log counts"

    (tmp_path / "bin" / "python3").unlink()
    assert copied() == NO_SQLITE
