"""Apache NiFi as a process that the supervisor can run: its folder, its settings, its command.

Belongs here: what one NiFi of a site on this machine needs. Not here: fetching and assembling it
(servers/install/nifi.py), or talking to it (tools/nifi/flows.py). It binds 127.0.0.1 only; what its flows listen on
is theirs to say.

Settings are named as in the NiFi System Administrator's Guide.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.names import LOOPBACK, Say, silent
from homelab_platform.servers.install import nifi
from homelab_platform.servers.install.java import java_binary
from homelab_platform.servers.install.nifi import Places
from homelab_platform.servers.supervise import ports
from homelab_platform.servers.supervise.spec import Answer, Health, ProcessSpec

ADDRESS = LOOPBACK
VERSION = nifi.VERSION
HEAP = "1g"
HEALTH_PATH = "/nifi-api/flow/about"
PROCESSES_PER_TYPE = 2
"""Python processes for one type of processor: as many as the smallest machine has cores to spare."""

recipe = nifi.recipe

_SMALL_FILES = {
    "authorizers.xml": "<authorizers/>",
    "login-identity-providers.xml": "<loginIdentityProviders/>",
    "state-management.xml": (
        "<stateManagement><local-provider><id>local-provider</id>"
        "<class>org.apache.nifi.controller.state.providers.local.WriteAheadLocalStateProvider</class>"
        '<property name="Directory">./state</property></local-provider></stateManagement>'
    ),
    # To the supervisor's log, which is kept small there. A line per request would cost more than the request.
    "logback.xml": (
        '<configuration><appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder>'
        "<pattern>%date %level [%thread] %logger{40} %msg%n</pattern></encoder></appender>"
        '<logger name="org.apache.nifi.runtime" level="INFO"/>'
        '<logger name="org.apache.nifi.bootstrap" level="INFO"/>'
        '<root level="WARN"><appender-ref ref="OUT"/></root></configuration>'
    ),
}


@dataclass(frozen=True)
class NifiPorts:
    """`http` serves UI and REST, `management` the commands of NiFi's own start script, which nobody uses here."""

    http: int
    management: int

    @classmethod
    def choose(cls) -> NifiPorts:
        """Two free ports."""
        return cls(*ports.choose(2))


def installed(progress: Say = silent) -> Places:
    """The installed server, fetched and assembled first if need be; see nifi_install.installed."""
    java_binary(progress)
    return nifi.installed(progress)


def prepare(folder: Path, chosen: NifiPorts, sensitive_key: str, *, durable: bool = True) -> None:
    """Make or renew the server's folder; queued data, flows and state of an earlier start stay. Safe to repeat.

    `sensitive_key` (12 characters at least) encrypts what NiFi keeps of secret parameters: a flow that was kept under
    another key cannot be read. `durable=False` spares the disk a flush at every step, for tests: a queue then outlives
    a kill, but not a power cut.
    """
    if len(sensitive_key) < 12:
        raise HomelabError.of("NiFi", "the key for secret parameters is shorter than 12 characters", "Make a new one.")
    places = nifi.installed()
    for name in ("conf", "extensions", "work", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    for name, text in _SMALL_FILES.items():
        (folder / "conf" / name).write_text(f'<?xml version="1.0" encoding="UTF-8"?>{text}\n')
    lines = "".join(f"{key}={value}\n" for key, value in settings(places, chosen.http, durable).items())
    descriptor = os.open(folder / "conf" / "nifi.properties", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{lines}nifi.sensitive.props.key={sensitive_key}\n")
    _renew_bundles(folder, places)
    copy_extensions(folder / "python")


def _renew_bundles(folder: Path, places: Places) -> None:
    """The unpacked bundles: NiFi would take seconds and 260 MB to unpack them for itself."""
    bundles, mark = folder / "work" / "nar", folder / "work" / "installation"
    if mark.exists() and mark.read_text() == places.root.name and bundles.is_dir():
        return
    shutil.rmtree(bundles, ignore_errors=True)
    nifi.share(places.unpacked, bundles)
    mark.write_text(places.root.name)


SHARED_MODULES = ("contract", "exposition", "payload", "poll", "statistics", "tabular", "timestamps")
"""Readers of sources that our processors use too: the same files, under names that hide nothing of Python's."""


def copy_extensions(target: Path) -> None:
    """Put our Python processors where a NiFi looks for them, and nothing else.

    The folder NAR-INF tells NiFi that they bring all that they need: it then runs them on the plain interpreter instead
    of making a virtual environment for each, which takes it 17 to 150 seconds.
    """
    source = paths.project_path("nifi", "extensions")
    target.mkdir(parents=True, exist_ok=True)
    wanted = {file.name: file for file in source.glob("*.py")}
    readers = paths.project_path("homelab_platform", "wire")
    wanted |= {f"homelab_{name}.py": readers / f"{name}.py" for name in SHARED_MODULES}
    for old in target.glob("*.py"):
        if old.name not in wanted:
            old.unlink()
    for name, file in wanted.items():
        shutil.copyfile(file, target / name)
    (target / "NAR-INF" / "bundled-dependencies").mkdir(parents=True, exist_ok=True)


def settings(places: Places, port: int, durable: bool) -> dict[str, str]:
    """nifi.properties without the key for secrets; paths are relative to the server's folder unless shared."""
    return {
        "nifi.flow.configuration.file": "./conf/flow.json.gz",
        "nifi.flow.configuration.archive.enabled": "true",
        "nifi.flow.configuration.archive.dir": "./conf/archive",
        "nifi.flow.configuration.archive.max.time": "30 days",
        "nifi.flow.configuration.archive.max.storage": "50 MB",
        "nifi.flowcontroller.autoResumeState": "true",
        "nifi.flowcontroller.graceful.shutdown.period": "10 sec",
        "nifi.flowservice.writedelay.interval": "100 ms",
        "nifi.administrative.yield.duration": "5 sec",
        "nifi.bored.yield.duration": "10 millis",
        "nifi.queue.backpressure.count": "10000",
        "nifi.queue.backpressure.size": "1 GB",
        "nifi.authorizer.configuration.file": "./conf/authorizers.xml",
        "nifi.login.identity.provider.configuration.file": "./conf/login-identity-providers.xml",
        "nifi.nar.library.directory": str(places.libraries),
        "nifi.nar.library.autoload.directory": "./extensions",
        "nifi.nar.working.directory": "./work/nar/",
        "nifi.upload.working.directory": "./work/uploads",
        "nifi.python.command": sys.executable,
        "nifi.python.framework.source.directory": str(places.framework),
        "nifi.python.extensions.source.directory.default": "./python",
        "nifi.python.working.directory": "./work/python",
        "nifi.python.max.processes": "20",
        "nifi.python.max.processes.per.extension.type": str(PROCESSES_PER_TYPE),
        "nifi.state.management.configuration.file": "./conf/state-management.xml",
        "nifi.state.management.provider.local": "local-provider",
        **_repositories(durable),
        "nifi.components.status.repository.implementation": (
            "org.apache.nifi.controller.status.history.VolatileComponentStatusRepository"
        ),
        "nifi.nar.persistence.provider.implementation": "org.apache.nifi.nar.StandardNarPersistenceProvider",
        "nifi.nar.persistence.provider.properties.directory": "./nars",
        "nifi.asset.manager.implementation": "org.apache.nifi.asset.StandardAssetManager",
        "nifi.asset.manager.properties.directory": "./assets",
        "nifi.web.http.host": ADDRESS,
        "nifi.web.http.port": str(port),
        "nifi.web.https.port": "",
        "nifi.web.jetty.working.directory": "./work/jetty",
        "nifi.web.jetty.threads": "50",
        "nifi.web.should.send.server.version": "false",
        "nifi.sensitive.props.algorithm": "NIFI_PBKDF2_AES_GCM_256",
        "nifi.cluster.is.node": "false",
        "nifi.remote.input.http.enabled": "false",
    }


def _repositories(durable: bool) -> dict[str, str]:
    """Where flow files, their content and their history lie, and whether each write waits for the disk."""
    sync = "true" if durable else "false"
    repository = "org.apache.nifi.controller.repository"
    return {
        "nifi.database.directory": "./database",
        "nifi.flowfile.repository.implementation": f"{repository}.WriteAheadFlowFileRepository",
        "nifi.flowfile.repository.directory": "./flowfile",
        "nifi.flowfile.repository.checkpoint.interval": "20 secs",
        "nifi.flowfile.repository.always.sync": sync,
        "nifi.swap.manager.implementation": "org.apache.nifi.controller.FileSystemSwapManager",
        "nifi.queue.swap.threshold": "20000",
        "nifi.content.repository.implementation": f"{repository}.FileSystemRepository",
        "nifi.content.repository.directory.default": "./content",
        "nifi.content.repository.archive.enabled": "false",
        "nifi.content.repository.always.sync": sync,
        "nifi.content.claim.max.appendable.size": "1 MB",
        "nifi.provenance.repository.implementation": "org.apache.nifi.provenance.WriteAheadProvenanceRepository",
        "nifi.provenance.repository.directory.default": "./provenance",
        "nifi.provenance.repository.max.storage.time": "1 day",
        "nifi.provenance.repository.max.storage.size": "200 MB",
        "nifi.provenance.repository.rollover.time": "1 min",
        "nifi.provenance.repository.index.threads": "1",
        "nifi.provenance.repository.indexed.fields": "EventType, FlowFileUUID, ProcessorID",
        "nifi.provenance.repository.max.attribute.length": "1000",
    }


def process(
    folder: Path, chosen: NifiPorts, *, name: str = "nifi", after: tuple[str, ...] = (), quick: bool = False
) -> ProcessSpec:
    """The server as the supervisor runs it, from a folder that `prepare` made.

    `quick` leaves out the compiler that makes long runs cheap and the start dear: for tests (20 CPU-seconds instead of
    35 until it answers, on a busy machine).

    After a kill it goes on where it was: flows run again, queued data is still queued. Its Python processes are in its
    process group, which the supervisor ends with it.
    """
    places = nifi.installed()
    command = (
        str(java_binary()),
        "-Xms128m",
        f"-Xmx{HEAP}",
        "-XX:+UseSerialGC",
        *(("-XX:TieredStopAtLevel=1",) if quick else ()),
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Dnifi.properties.file.path={folder / 'conf' / 'nifi.properties'}",
        f"-Dorg.apache.nifi.management.server.address={ADDRESS}:{chosen.management}",
        f"-Dorg.apache.nifi.bootstrap.config.log.dir={folder / 'tmp'}",
        "-cp",
        f"{folder / 'conf'}{os.pathsep}{places.libraries}/*",
        "org.apache.nifi.NiFi",
    )
    return ProcessSpec(
        name=name,
        command=command,
        folder=str(folder),
        environment={"HOME": str(folder), "MALLOC_ARENA_MAX": "2", "PYTHONDONTWRITEBYTECODE": "1"},
        port=chosen.http,
        after=after,
        health=Health((Answer(chosen.http, HEALTH_PATH, '"version"'),)),
        start_timeout=300,
        stop_timeout=30,
    )
