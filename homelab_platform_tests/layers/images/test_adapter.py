"""Images as assets: made when they differ from the lab, left alone when they do not, from a base that is checked."""

from __future__ import annotations

import hashlib
import lzma
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from homelab_platform.apply.adapter import Observation
from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.layers.images import adapter as images
from homelab_platform.layers.images.adapter import ImageAdapter
from homelab_platform.layers.images.base import fetch_base
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.sites import CAPABILITIES, SiteKind
from homelab_platform.secrets.generated import make
from homelab_platform_tests.layers.images.cards import boot_of, make_image

LAB = """lab: home
network: {{lan: 192.168.7.0/24, gateway: 192.168.7.1}}
hosts:
  pi-1: {{board: pi5-8gb, os: raspios, address: 192.168.7.{last}}}
  pi-2: {{board: pi1, os: raspios, address: 192.168.7.12}}
  nix-1: {{board: pi5-8gb, os: nixos, address: 192.168.7.13}}
people:
  ada: {{role: admin, ssh: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDy6LfDGmpoSGgW81aCCf0NuxjQPYWVqA7IXjOW2BFl3 ada}}
{tooling}
"""
NAMED = "tooling: {{raspios: {{arm64: {{image: {image}, sha256: {sum}}}}}}}"
PRIVATE, PUBLIC = make("ssh-host-key")


def quiet(_text: str) -> None:
    pass


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    packed = folder / "raspios.img.xz"
    packed.write_bytes(lzma.compress(make_image(folder / "raspios.img").read_bytes(), preset=0))
    return packed


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(images, "reveal", lambda _reference, _folder: PRIVATE.rstrip())
    monkeypatch.setenv("HOMELAB_CACHE", str(tmp_path / "cache"))


def sum_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def adapter_of(folder: Path, tooling: str, last: int = 11) -> tuple[ImageAdapter, dict[str, DesiredState]]:
    (folder / "lab.yaml").write_text(LAB.format(last=last, tooling=tooling))
    lab = load_resolved(folder / "lab.yaml", load_catalogue())
    return ImageAdapter(lab, folder, folder / "images", folder / "known_hosts"), desired_states(lab)


def test_only_a_host_whose_base_the_lab_names_is_in_reach_of_a_site(base: Path, tmp_path: Path) -> None:
    lab_site = CAPABILITIES[SiteKind.LAB]
    for tooling, reached in (("", []), (NAMED.format(image=base, sum=sum_of(base)), ["image/pi-1"])):
        _, states = adapter_of(tmp_path, tooling)
        assert [key for key in states if key.startswith("image/") and lab_site.can(key, states[key].kinds)] == reached
        assert not any(CAPABILITIES[SiteKind.SMALL].can(key, states[key].kinds) for key in reached)


def test_an_image_is_made_once_and_again_when_the_lab_or_the_file_changes(base: Path, tmp_path: Path) -> None:
    tooling = NAMED.format(image=base, sum=sum_of(base).upper())
    adapter, states = adapter_of(tmp_path, tooling)
    desired = states["image/pi-1"]
    assert adapter.probe(desired) == Observation(False)
    adapter.change(desired, Observation(False), quiet)
    found = adapter.probe(desired)
    assert found.matches(desired) and found.facts["sha256"] == sum_of(adapter.file("pi-1"))
    assert [e.name for e in adapter.work(desired, {}, quiet)] == ["image", "sha256", "next"]
    assert (tmp_path / "known_hosts").read_text() == f"pi-1 {PUBLIC}\n"

    other, changed = adapter_of(tmp_path, tooling, last=21)
    assert not other.probe(changed["image/pi-1"]).matches(changed["image/pi-1"])
    other.change(changed["image/pi-1"], found, quiet)
    assert other.probe(changed["image/pi-1"]).matches(changed["image/pi-1"])
    assert b"192.168.7.21/24" in boot_of(other.file("pi-1")).read("network-config")

    with other.file("pi-1").open("ab") as stream:
        stream.write(b"x")
    assert other.probe(changed["image/pi-1"]).differences == (f"{other.file('pi-1')} was changed",)
    other.remove("image/pi-1", {}, quiet)
    assert [*(tmp_path / "images").iterdir()] == [] and not other.probe(changed["image/pi-1"]).exists


def test_what_was_made_from_another_base_by_hand_is_not_taken_for_the_labs(base: Path, tmp_path: Path) -> None:
    adapter, states = adapter_of(tmp_path, NAMED.format(image=base, sum=sum_of(base)))
    desired = states["image/pi-1"]
    adapter.change(desired, Observation(False), quiet)
    image = fetch_base(adapter._lab, adapter._lab.hosts["pi-1"], tmp_path, quiet)
    adapter.make("pi-1", image, adapter.file("pi-1"), quiet)
    assert not adapter.probe(desired).matches(desired)


@pytest.fixture
def address(base: Path) -> Iterator[str]:
    """Where the base is served, on the loopback interface."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(base.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{base.name}"
        server.shutdown()


def test_a_base_is_downloaded_once_and_never_used_with_another_sum(base: Path, tmp_path: Path, address: str) -> None:
    adapter, _ = adapter_of(tmp_path, NAMED.format(image=address, sum=sum_of(base)))
    said: list[str] = []
    for _ in range(2):
        assert fetch_base(adapter._lab, adapter._lab.hosts["pi-1"], tmp_path, said.append).sha256 == sum_of(base)
    assert [line.split()[0] for line in said] == ["downloading", "reading", "reading"]

    wrong, _ = adapter_of(tmp_path, NAMED.format(image=address, sum="0" * 64))
    with pytest.raises(HomelabError, match="has the SHA-256"):
        fetch_base(wrong._lab, wrong._lab.hosts["pi-1"], tmp_path, quiet)
    absent, _ = adapter_of(tmp_path, NAMED.format(image=f"{address}.old", sum=sum_of(base)))
    with pytest.raises(HomelabError, match="answers 404"):
        fetch_base(absent._lab, absent._lab.hosts["pi-1"], tmp_path, quiet)
    assert len([*(tmp_path / "cache" / "raspios").iterdir()]) == 1


@pytest.mark.parametrize(
    ("host", "what"), [("pi-2", r"tooling\.raspios\.armhf"), ("nix-1", "is built by nix, not made from another image")]
)
def test_a_host_without_a_base_is_told_what_to_do(base: Path, tmp_path: Path, host: str, what: str) -> None:
    adapter, _ = adapter_of(tmp_path, NAMED.format(image=base, sum=sum_of(base)))
    with pytest.raises(HomelabError, match=what):
        fetch_base(adapter._lab, adapter._lab.hosts[host], tmp_path, quiet)
