"""Apache NiFi on this machine: the locked artifacts from Maven Central, put together into a server.

Belongs here: fetching, checking and assembling. Not here: a particular server's folder and settings (nifi.py).

Upstream publishes its bundles on Maven Central but no whole server, and not every bundle. The standard processors are
there only as plain jars, so they are packed into a NAR here, under the coordinates that upstream's own has: a flow
definition that names `nifi-standard-nar` then loads in this server and in the full image alike.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.servers.install import shared
from homelab_platform.servers.install.shared import Recipe

VERSION = "2.3.0"
COPY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
LAYOUT = "2"
"""Raised when the assembly below changes, so that servers assembled before are not taken for ones of this kind."""

FRAMEWORK = f"nifi-framework-nar-{VERSION}.nar"
STANDARD = f"nifi-standard-nar-{VERSION}.nar"
PARENTS = (f"nifi-standard-services-api-nar-{VERSION}.nar", f"nifi-standard-shared-nar-{VERSION}.nar")
"""What the standard NAR stands on: a jar that these bring stays out of it."""
BUNDLED = "META-INF/bundled-dependencies/"
DOWNLOAD_TIMEOUT = 1800.0


class Artifact(NamedTuple):
    """One line of the lock: where it goes in the server, and what it is."""

    sha256: str
    place: str
    group: str
    name: str
    version: str
    kind: str
    classifier: str = ""

    @property
    def file(self) -> str:
        """The file's name in a Maven repository."""
        tail = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{tail}.{self.kind}"

    @property
    def in_repository(self) -> Path:
        """The file's place in a Maven repository."""
        return Path(*self.group.split("."), self.name, self.version, self.file)


@dataclass(frozen=True)
class Places:
    """The folders of an installed server; nothing in them is written to by a running one."""

    root: Path

    @property
    def libraries(self) -> Path:
        """The class path, and the bundles as NARs."""
        return self.root / "lib"

    @property
    def unpacked(self) -> Path:
        """The bundles as NiFi unpacks them at its first start."""
        return self.root / "nar"

    @property
    def framework(self) -> Path:
        """The framework that runs Python processors; the interface lies in `api` beside it."""
        return self.root / "python" / "framework"


def lock_file() -> Path:
    """The committed list of artifacts."""
    return paths.project_path("nifi", "artifacts.lock")


def locked() -> list[Artifact]:
    """What the lock lists. Raises HomelabError that names the line that cannot be read."""
    found = []
    for number, line in enumerate(lock_file().read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 3 or not 4 <= len(words[2].split(":")) <= 5:
            raise HomelabError.of(f"{lock_file()}:{number}", "is not `checksum place group:artifact:version:type`")
        found.append(Artifact(words[0], words[1], *words[2].split(":")))
    return found


def recipe() -> Recipe:
    """What this server is made of and how."""
    return Recipe("nifi", VERSION, f"{LAYOUT}\n{lock_file().read_text()}")


def installed(progress: Say = silent) -> Places:
    """The installed server, fetched and assembled first if need be.

    Raises HomelabError when Maven is missing, when an artifact cannot be had, or when one has another checksum.
    """
    return Places(shared.install(recipe(), _build, progress))


def _build(folder: Path, progress: Say) -> None:
    artifacts = locked()
    downloads = folder / "download"
    downloads.mkdir()
    _fetch(artifacts, downloads, progress)
    for artifact in artifacts:
        shared.verify(downloads / artifact.file, artifact.sha256)
    progress("putting NiFi together")
    assemble(artifacts, downloads, Places(folder))
    shutil.rmtree(downloads)


def _fetch(artifacts: Iterable[Artifact], folder: Path, progress: Say) -> None:
    """Copy the artifacts into `folder`: from Maven's local repository where they lie, else Maven downloads them."""
    missing = []
    local = Path.home() / ".m2" / "repository"
    for artifact in artifacts:
        known = local / artifact.in_repository
        if known.is_file() and _digest(known) == artifact.sha256:
            shutil.copyfile(known, folder / artifact.file)
        else:
            missing.append(artifact)
    if missing:
        progress(f"downloading {len(missing)} artifacts of NiFi {VERSION} from Maven Central")
        _maven(missing, folder)


def _maven(artifacts: Iterable[Artifact], folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise HomelabError.of("NiFi", "Maven (mvn) is not installed", "Install it: apt-get install maven")
    project = folder / "pom.xml"
    project.write_text(_project(artifacts, folder))
    command = [maven, "-q", "-B", "-ntp", "-f", str(project), COPY_PLUGIN]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise HomelabError.of("NiFi", "the download from Maven Central took too long", "Try again.") from None
    finally:
        project.unlink()
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise HomelabError.of(
            "NiFi",
            f"Maven could not fetch its artifacts: {said[0] if said else f'exit code {done.returncode}'}",
            "Look whether this machine reaches Maven Central (~/.m2/settings.xml may name a mirror), then try again.",
        )


def _project(artifacts: Iterable[Artifact], folder: Path) -> str:
    """A Maven project that copies exactly these artifacts and resolves nothing else."""
    items = "".join(
        f"<artifactItem><groupId>{a.group}</groupId><artifactId>{a.name}</artifactId><version>{a.version}</version>"
        f"<type>{a.kind}</type>{f'<classifier>{a.classifier}</classifier>' if a.classifier else ''}</artifactItem>"
        for a in artifacts
    )
    group, name, version, _ = COPY_PLUGIN.split(":")
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>homelab</groupId><artifactId>nifi</artifactId><version>1</version><packaging>pom</packaging>"
        f"<build><plugins><plugin><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>"
        f"<configuration><outputDirectory>{folder}</outputDirectory><artifactItems>{items}</artifactItems>"
        "</configuration></plugin></plugins></build></project>\n"
    )


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def assemble(artifacts: Iterable[Artifact], downloads: Path, places: Places) -> None:
    """Lay the downloaded artifacts out as a server, and unpack its bundles."""
    by_place: dict[str, list[Path]] = {}
    for artifact in artifacts:
        by_place.setdefault(artifact.place, []).append(downloads / artifact.file)
    places.libraries.mkdir()
    for file in (*by_place["lib"], *by_place["nar"]):
        shutil.copyfile(file, places.libraries / file.name)
    _standard_nar(by_place["standard"], places.libraries)
    for file in by_place["python"]:
        api = "extension-api" in file.name
        target, inside = (
            (places.framework.parent / "api", "nifiapi/") if api else (places.root / "python", "framework/")
        )
        with zipfile.ZipFile(file) as archive:
            archive.extractall(target, [name for name in archive.namelist() if name.startswith(inside)])
    for nar in sorted(places.libraries.glob("*.nar")):
        _unpack(nar, places.unpacked / ("framework" if nar.name == FRAMEWORK else "extensions"))


def _standard_nar(jars: Iterable[Path], libraries: Path) -> None:
    """Pack the standard processors. A stored entry costs no time to unpack, and the jars are compressed already."""
    served = {file.name for file in libraries.iterdir()}
    for parent in PARENTS:
        with zipfile.ZipFile(libraries / parent) as archive:
            served |= {name.rpartition("/")[2] for name in archive.namelist() if name.endswith(".jar")}
    parent_id = PARENTS[1].removesuffix(f"-{VERSION}.nar")
    manifest = {
        "Manifest-Version": "1.0",
        "Nar-Id": STANDARD.removesuffix(f"-{VERSION}.nar"),
        "Nar-Group": "org.apache.nifi",
        "Nar-Version": VERSION,
        "Nar-Dependency-Group": "org.apache.nifi",
        "Nar-Dependency-Id": parent_id,
        "Nar-Dependency-Version": VERSION,
        "Clone-During-Instance-Class-Loading": "false",
    }
    with zipfile.ZipFile(libraries / STANDARD, "w", zipfile.ZIP_STORED) as archive:
        for name in ("META-INF/", BUNDLED):  # NiFi makes no folder that has no entry of its own
            archive.writestr(zipfile.ZipInfo(name), b"")
        lines = "".join(f"{key}: {value}\r\n" for key, value in manifest.items())
        archive.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), f"{lines}\r\n")
        for jar in sorted(jars):
            if jar.name not in served:
                archive.write(jar, f"{BUNDLED}{jar.name}")


def _unpack(nar: Path, parent: Path) -> None:
    """Unpack a bundle as NiFi's NarUnpacker would, digest included, so that a first start finds it done."""
    target = parent / f"{nar.name}-unpacked"
    with zipfile.ZipFile(nar) as archive:
        for entry in archive.infolist():
            name = entry.filename
            inner = f"NAR-INF/bundled-dependencies/{name.removeprefix(BUNDLED)}" if name.startswith(BUNDLED) else name
            place = target / inner
            if entry.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, place.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    with nar.open("rb") as stream:
        (target / "nar-digest").write_bytes(hashlib.file_digest(stream, "sha256").digest())


def share(tree: Path, target: Path) -> None:
    """Give a server its own view of a read-only tree: hard links where the disk allows them, else copies.

    A server may remove files from its view, and never harms another one's.
    """

    def link(source: str, copy: str) -> str:
        try:
            os.link(source, copy)
        except OSError:
            shutil.copy2(source, copy)
        return copy

    shutil.copytree(tree, target, copy_function=link, dirs_exist_ok=True)
