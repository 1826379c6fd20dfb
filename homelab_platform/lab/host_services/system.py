"""Host services of the network, of storage and of watching.

Belongs here: the table only.
"""

from __future__ import annotations

from homelab_platform.lab.host_services.types import DEBIANS, MI, NIXOS_ONLY, HostService, settings

SERVICES: tuple[HostService, ...] = (
    # network
    HostService("wireguard", "WireGuard VPN", ("udp/51820",), {"wireguard": 9586}, open=False, memory=8 * MI),
    HostService("tailscale", "Tailscale mesh", ("udp/41641",), open=False, memory=64 * MI, state="/var/lib/tailscale"),
    HostService(
        "pihole",
        "Pi-hole DNS",
        ("tcp/53", "udp/53", "tcp/80"),
        {"pihole": 9617},
        settings(
            "upstream list: Resolvers it asks.",
            "lists list: Block lists.",
            "password secret: Reference to the password of its page.",
            "dhcp boolean=false",
        ),
        128 * MI,
        state="/etc/pihole",
    ),
    HostService(
        "dnsmasq",
        "DNS and DHCP",
        ("tcp/53", "udp/53", "udp/67"),
        {"dnsmasq": 9153},
        settings("dhcp boolean=true: Whether it gives out addresses.", "upstream list"),
        16 * MI,
    ),
    HostService(
        "unbound", "Recursive resolver", ("tcp/53", "udp/53"), {"unbound": 9167}, settings("forward list"), 32 * MI
    ),
    HostService(
        "dynamic-dns",
        "Keeps a public DNS record at the line's address",
        settings=settings("provider text: cloudflare or gandi.", "names list", "token secret", "every duration"),
        open=False,
    ),
    HostService(
        "acme",
        "Certificates by DNS-01",
        settings=settings("provider text", "names list", "email text", "token secret"),
        open=False,
        state="/var/lib/acme",
    ),
    HostService(
        "reverse-proxy",
        "nginx in front of host services",
        ("tcp/80", "tcp/443"),
        {"nginx": 9113},
        settings("sites mapping: Names to addresses."),
        32 * MI,
    ),
    HostService("avahi", "mDNS names", ("udp/5353",), memory=8 * MI),
    HostService("chrony", "Time server", ("udp/123",), {"chrony": 9123}, memory=8 * MI),
    HostService("fail2ban", "Bans addresses that guess passwords", open=False, memory=64 * MI),
    HostService(
        "router",
        "Routes and NAT between interfaces",
        settings=settings("wan text: Interface to the internet.", "nat boolean=true", "forward list"),
        systems=NIXOS_ONLY,
    ),
    # storage
    HostService(
        "samba",
        "Windows file shares",
        ("tcp/445", "tcp/139"),
        settings=settings(
            "shares mapping: Names to folders.",
            "workgroup text=WORKGROUP",
            "users list: People with an account there; each needs the secret samba-<name>.",
        ),
        memory=64 * MI,
    ),
    HostService(
        "zfs",
        "ZFS file system",
        exporters={"zfs": 9134},
        settings=settings(
            "arc size=1Gi: Most memory its cache may take.",
            "host_id text: Eight hex digits.",
            "scrub text=monthly",
            "trim boolean=true",
            "snapshots boolean=true",
        ),
        memory=1024 * MI,
        open=False,
    ),
    HostService(
        "nfs-server",
        "NFS exports",
        ("tcp/2049",),
        settings=settings("exports mapping: Folders to who may mount them."),
        memory=64 * MI,
    ),
    HostService("nfs-client", "Mounts NFS folders", settings=settings("mounts mapping"), open=False),
    HostService("open-iscsi", "iSCSI initiator (Longhorn needs it)", open=False, memory=8 * MI),
    HostService(
        "minio",
        "S3 object storage (MinIO)",
        ("tcp/9000", "tcp/9001"),
        {"minio": 9000},
        settings("data path: Folder of its data.", "region text", "user secret", "password secret", "buckets list"),
        512 * MI,
        state="/var/lib/minio",
    ),
    HostService(
        "garage",
        "S3 object storage (Garage)",
        ("tcp/3900",),
        {"garage": 3903},
        settings(
            "region text=garage",
            "buckets list",
            "key secret: Reference to the lab's access key.",
            "secret secret: Reference to its secret.",
        ),
        256 * MI,
        state="/var/lib/garage",
        systems=NIXOS_ONLY,
    ),
    HostService(
        "syncthing",
        "File synchronisation",
        ("tcp/22000", "udp/22000", "udp/21027", "tcp/8384"),
        settings=settings("folders mapping: Names to paths.", "devices mapping", "user text"),
        memory=128 * MI,
        state="/var/lib/syncthing",
    ),
    HostService(
        "restic",
        "Backups by restic",
        settings=settings("paths list: Folders to save.", "to list: Backup targets.", "exclude list", "at time"),
        open=False,
        memory=256 * MI,
    ),
    HostService(
        "rclone-target",
        "Synchronises folders to a remote, with snapshots and verification",
        settings=settings(
            "source list: Folders.",
            "to text: Remote.",
            "at time",
            "every text",
            "snapshots boolean=true",
            "verify boolean=true",
            "config secret",
        ),
        open=False,
        memory=64 * MI,
    ),
    HostService(
        "backup-agent",
        "Saves this host to the lab's targets",
        settings=settings("paths list", "to list: Backup targets.", "exclude list", "at time"),
        open=False,
        memory=64 * MI,
    ),
    HostService("hd-idle", "Spins idle disks down", settings=settings("after duration=10m"), open=False),
    # watching
    HostService(
        "prometheus",
        "Prometheus",
        ("tcp/9090",),
        {"prometheus": 9090},
        settings("keep duration=15d"),
        1024 * MI,
        state="/var/lib/prometheus2",
    ),
    HostService(
        "grafana",
        "Grafana",
        ("tcp/3000",),
        {"grafana": 3000},
        settings("hostname text", "admin_password secret", "dashboards path"),
        256 * MI,
        state="/var/lib/grafana",
    ),
    HostService("alertmanager", "Alertmanager", ("tcp/9093",), {"alertmanager": 9093}, memory=32 * MI),
    HostService(
        "loki",
        "Loki logs",
        ("tcp/3100",),
        {"loki": 3100},
        settings("keep duration=30d"),
        256 * MI,
        state="/var/lib/loki",
    ),
    HostService("smartd", "Watches disks", exporters={"smartctl": 9633}, open=False, memory=16 * MI),
    HostService(
        "nvidia",
        "NVIDIA driver and CUDA",
        exporters={"nvidia-gpu": 9835},
        settings=settings("cuda boolean=true"),
        open=False,
        systems=NIXOS_ONLY,
    ),
    HostService(
        "ups", "Watches a UPS (NUT)", ("tcp/3493",), {"nut": 9199}, settings("driver text", "device text"), 16 * MI
    ),
    HostService("unattended-upgrades", "Security updates by itself", open=False, systems=DEBIANS),
    HostService("zram", "Compressed swap in memory", settings=settings("percent integer=50"), open=False),
)
