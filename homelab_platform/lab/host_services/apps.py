"""Host services that people use, and those that build and run things.

Belongs here: the table only.
"""

from __future__ import annotations

from homelab_platform.lab.host_services.types import DEBIANS, MI, NIXOS_ONLY, HostService, settings

SERVICES: tuple[HostService, ...] = (
    # applications
    HostService(
        "nextcloud",
        "Nextcloud",
        ("tcp/80", "tcp/443"),
        {"nextcloud": 9205},
        settings(
            "storage text: local or s3.",
            "bucket text: Bucket of S3 primary storage.",
            "endpoint text",
            "key secret",
            "secret secret",
            "hostname text",
            "admin_password secret",
        ),
        1024 * MI,
        state="/var/lib/nextcloud",
    ),
    HostService(
        "hedgedoc",
        "Markdown editor",
        ("tcp/3000",),
        settings=settings("hostname text", "database text"),
        memory=192 * MI,
        state="/var/lib/hedgedoc",
    ),
    HostService(
        "postgresql",
        "PostgreSQL",
        ("tcp/5432",),
        {"postgres": 9187},
        settings("databases list", "version text"),
        256 * MI,
        False,
        "/var/lib/postgresql",
    ),
    HostService(
        "ldap",
        "LDAP directory with LDAPS",
        ("tcp/389", "tcp/636"),
        settings=settings("base text", "tls boolean=true", "password secret"),
        memory=64 * MI,
        state="/var/lib/openldap",
    ),
    HostService("mosquitto", "MQTT broker", ("tcp/1883",), {"mosquitto": 9234}, settings("users mapping"), 16 * MI),
    HostService(
        "home-assistant",
        "Home Assistant",
        ("tcp/8123",),
        settings=settings("components list"),
        memory=512 * MI,
        state="/var/lib/hass",
    ),
    HostService(
        "klipper",
        "3D printer firmware host",
        settings=settings(
            "serial path: Device of the printer.",
            "config path: Printer configuration beside the lab file.",
            "settings mapping",
        ),
        open=False,
        memory=128 * MI,
        state="/var/lib/klipper",
    ),
    HostService(
        "moonraker",
        "API of Klipper",
        ("tcp/7125",),
        settings=settings("trusted list", "system_control boolean=false"),
        memory=96 * MI,
        state="/var/lib/moonraker",
    ),
    HostService("fluidd", "Web page of Klipper", ("tcp/80",), settings=settings("hostname text"), memory=16 * MI),
    HostService(
        "kiosk",
        "Full-screen display of one page",
        settings=settings(
            "url text: Page to show.",
            "rotate integer=0: Degrees.",
            "touch boolean=false: Whether it has a touch screen.",
            "off text",
        ),
        open=False,
        memory=512 * MI,
    ),
    HostService(
        "sunshine",
        "Game streaming host (Moonlight clients)",
        ("tcp/47984", "tcp/47989", "udp/47998"),
        memory=256 * MI,
        systems=NIXOS_ONLY,
    ),
    # building and running
    HostService(
        "github-runner",
        "GitHub Actions runner",
        settings=settings(
            "repository text: Address of the repository (a private one).",
            "token secret: Reference to its token.",
            "labels list",
            "count integer=1",
            "ephemeral boolean=true",
        ),
        open=False,
        memory=512 * MI,
    ),
    HostService(
        "remote-builder",
        "Builds Nix derivations for other hosts",
        settings=settings(
            "systems list=x86_64-linux: Platforms it builds for.",
            "jobs integer=2: Builds at once.",
            "features list",
            "user text=build: Account that others use.",
        ),
        open=False,
        systems=NIXOS_ONLY,
    ),
    HostService(
        "binfmt",
        "Runs programs of other architectures",
        settings=settings("systems list=aarch64-linux"),
        open=False,
        systems=NIXOS_ONLY,
    ),
    HostService(
        "nix-cache", "Binary cache for other hosts", ("tcp/5000",), settings=settings("key secret"), systems=NIXOS_ONLY
    ),
    HostService(
        "libvirt",
        "Virtual machines by libvirt/KVM",
        exporters={"libvirt": 9177},
        settings=settings("machines mapping", "networks mapping"),
        open=False,
        memory=128 * MI,
        state="/var/lib/libvirt",
    ),
    HostService("virtualbox", "Virtual machines by VirtualBox", open=False, memory=64 * MI, systems=NIXOS_ONLY),
    HostService(
        "docker",
        "Docker",
        settings=settings("prune boolean=true"),
        open=False,
        memory=100 * MI,
        state="/var/lib/docker",
    ),
    HostService(
        "docker-registry", "Container registry", ("tcp/5000",), memory=64 * MI, state="/var/lib/docker-registry"
    ),
    HostService(
        "puppet-server",
        "Puppet (OpenVox) server",
        ("tcp/8140",),
        memory=1536 * MI,
        state="/etc/puppetlabs/puppetserver/ca",
        systems=DEBIANS,
    ),
    HostService("puppet-agent", "Puppet (OpenVox) agent", open=False, memory=64 * MI, systems=DEBIANS),
)
