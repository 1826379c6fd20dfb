"""The lock of NiFi's artifacts, and the server's folder as it is prepared."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers import nifi
from homelab_platform.servers.install import nifi as nifi_install
from homelab_platform.servers.install.nifi import Places


def test_the_lock_names_every_artifact_once_with_its_checksum() -> None:
    artifacts = nifi_install.locked()
    assert len({artifact.file for artifact in artifacts}) == len(artifacts) > 100
    assert all(len(artifact.sha256) == 64 for artifact in artifacts)
    assert {artifact.place for artifact in artifacts} == {"lib", "nar", "python", "standard"}
    assert not [artifact for artifact in artifacts if "linux" in artifact.file], "nothing is for one processor only"


def test_a_line_of_the_lock_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nifi").mkdir()
    (tmp_path / "nifi" / "artifacts.lock").write_text("# fine\n123 lib org.apache.nifi:nifi-api\n")
    monkeypatch.setenv("HOMELAB_PROJECT", str(tmp_path))
    with pytest.raises(HomelabError, match=r"artifacts\.lock:2"):
        nifi_install.locked()


def test_a_server_listens_on_loopback_alone_and_flushes_its_queues_unless_told_not_to(tmp_path: Path) -> None:
    settings = nifi.settings(Places(tmp_path), 4711, True)
    assert settings["nifi.web.http.host"] == "127.0.0.1"
    assert settings["nifi.web.https.port"] == ""
    assert settings["nifi.remote.input.http.enabled"] == "false"
    assert settings["nifi.flowfile.repository.always.sync"] == "true"
    assert settings["nifi.content.repository.always.sync"] == "true"


def test_the_folder_of_processors_holds_ours_and_nothing_of_an_older_version(tmp_path: Path) -> None:
    (tmp_path / "OldProcessor.py").write_text("")
    nifi.copy_extensions(tmp_path)
    assert not (tmp_path / "OldProcessor.py").exists()
    assert (tmp_path / "NAR-INF" / "bundled-dependencies").is_dir()
