"""The forty-two bad inputs that home labs are known for: each that a lab file can hold is refused by a fixture."""

from __future__ import annotations

import pytest

from homelab_platform.lab.k3s_versions import complaint, skew_complaint, upgrade_complaint
from homelab_platform_tests.lab.rules.fixtures import fixtures, name_of

# number → what it is, and the rejected fixtures that stand for it (`rule/case`)
BAD_INPUTS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "duplicate IP",
        ("duplicate-address/rejected", "duplicate-address/rejected-ipv6", "duplicate-address/rejected-interface"),
    ),
    2: ("duplicate hostname", ("yaml/rejected-duplicate-key", "name/rejected-case", "same-hostname/rejected-host")),
    3: ("duplicate MAC", ("duplicate-mac/rejected",)),
    4: (
        "host outside the LAN",
        ("host-outside-lan/rejected", "host-outside-lan/rejected-vlan", "host-outside-lan/rejected-ipv6"),
    ),
    5: (
        "network, broadcast or gateway address",
        ("reserved-address/rejected", "reserved-address/rejected-network", "reserved-address/rejected-broadcast"),
    ),
    6: ("CIDR with host bits", ("cidr-host-bits/rejected",)),
    7: (
        "networks overlap",
        (
            "overlapping-networks/rejected",
            "overlapping-networks/rejected-home-lan",
            "overlapping-networks/rejected-services",
            "overlapping-networks/rejected-vpn",
        ),
    ),
    8: ("pod network too small", ("pods-too-small/rejected", "pods-too-small/rejected-mask")),
    9: ("pool overlaps DHCP", ("pool-overlaps-dhcp/rejected",)),
    10: (
        "pool holds a node, the gateway or the API",
        (
            "pool-holds-taken-address/rejected",
            "pool-holds-taken-address/rejected-gateway",
            "pool-holds-taken-address/rejected-api",
        ),
    ),
    11: ("pool outside the LAN, range reversed", ("range-outside-network/rejected", "reversed-range/rejected")),
    12: ("two services ask for one address", ("address-asked-twice/rejected",)),
    13: (
        "port clash",
        (
            "port-clash/rejected",
            "port-clash/rejected-systemd-resolved",
            "port-clash/rejected-traefik",
            "port-clash/rejected-host-port",
            "node-port/rejected",
            "bundled-twice/rejected",
        ),
    ),
    14: ("even number of etcd servers", ("etcd-quorum/rejected", "etcd-quorum/rejected-even")),
    15: ("worker without a server", ("agent-without-server/rejected",)),
    16: (
        "k3s version that does not exist",
        ("k3s-version/rejected", "k3s-version/rejected-patch", "k3s-version/rejected-form"),
    ),
    17: ("32-bit Pi as a k3s worker", ("board-cannot-run-k3s/rejected", "board-cannot-run-k3s/rejected-armv6")),
    18: ("image without arm64", ("image-architecture/rejected", "image-architecture/rejected-cluster")),
    19: (
        "SSH key missing, private or DSA",
        ("ssh-key/rejected-missing", "ssh-key/rejected-private", "ssh-key/rejected-dsa", "ssh-key/rejected-inline"),
    ),
    20: (
        "YAML traps",
        (
            "yaml/rejected-tab",
            "yaml/rejected-duplicate-key",
            "yaml/rejected-bomb",
            "yaml/rejected-no",
            "yaml/rejected-version",
            "yaml/rejected-leading-zero",
            "yaml/rejected-boolean",
        ),
    ),
    21: ("unknown field", ("unknown-key/rejected", "unknown-key/rejected-workload")),
    22: ("unknown workload or chart", ("unknown-workload/rejected", "own-chart-missing/rejected")),
    23: (
        "dependency off",
        (
            "missing-dependency/rejected-immich-without-postgresql",
            "vector-search/rejected",
            "missing-dependency/rejected-seerr-without-jellyfin",
            "sign-in-provider/rejected",
            "sign-in-provider/rejected-none",
        ),
    ),
    24: ("dependency cycle", ("dependency-cycle/rejected", "dependency-cycle/rejected-hosts")),
    25: (
        "volume larger than the disk",
        ("does-not-fit/rejected-disk", "does-not-fit/rejected-disk-sum", "storage-too-small/rejected"),
    ),
    26: (
        "memory or CPU larger than node or cluster",
        (
            "does-not-fit/rejected",
            "does-not-fit/rejected-too-large",
            "does-not-fit/rejected-cpu",
            "does-not-fit/rejected-sum",
        ),
    ),
    27: ("bad quantity", ("quantity/rejected-unit", "quantity/rejected-space", "quantity/rejected-negative")),
    28: (
        "secret in plain text, default password",
        (
            "secret-in-plain-text/rejected",
            "secret-in-plain-text/rejected-default",
            "secret-in-plain-text/rejected-minioadmin",
            "secret-in-plain-text/rejected-values-file",
            "tfvars-in-plain-text/rejected",
            "secrets-file-in-plain-text/rejected",
            "plain-secret/rejected-wifi",
        ),
    ),
    29: (
        "age recipient missing or private",
        ("age-recipient/rejected-missing", "age-recipient/rejected", "age-private-key/rejected"),
    ),
    30: (
        "domain typo, wildcard by HTTP-01, .local",
        ("domain-typo/rejected", "domain-typo/rejected-zone", "wildcard-needs-dns/rejected", "private-domain/rejected"),
    ),
    31: ("Cloudflare with the global key", ("cloudflare-token/rejected", "cloudflare-token/rejected-global")),
    32: (
        "backup inside of what it saves",
        (
            "backup-inside-cluster/rejected",
            "backup-inside-cluster/rejected-endpoint",
            "backup-inside-cluster/rejected-node",
            "backup-on-same-disk/rejected",
        ),
    ),
    33: (
        "retention 0, cron that never fires",
        ("backup-retention/rejected", "backup-retention/rejected-drill", "cron/rejected", "cron/rejected-range"),
    ),
    34: (
        "window too short, zone unknown, overlap with a backup",
        ("window-too-short/rejected", "time-zone/rejected", "window-overlaps-backup/rejected"),
    ),
    35: (
        "database on NFS",
        ("database-on-nfs/rejected", "database-on-nfs/rejected-postgresql", "local-path-on-nfs/rejected"),
    ),
    36: (
        "downloads and media apart",
        ("split-media/rejected", "split-media/rejected-downloads", "split-media-datasets/rejected"),
    ),
    37: ("Longhorn without nodes or open-iscsi", ("longhorn-replicas/rejected", "longhorn-hosts/rejected-open-iscsi")),
    38: (
        "Windows paths, names",
        (
            "windows-path/rejected",
            "windows-path/rejected-chart",
            "name/rejected-underscore",
            "name/rejected-non-ascii",
            "name/rejected-long",
        ),
    ),
    39: (
        "firewall shuts out its operator",
        ("firewall-locks-out/rejected", "firewall-locks-out/rejected-api", "firewall-locks-out/rejected-host"),
    ),
    41: (
        "bucket or table name",
        ("bucket-name/rejected", "bucket-name/rejected-settings", "reserved-sql-name/rejected"),
    ),
    42: (
        "retired or paywalled chart",
        (
            "retired-software/rejected",
            "retired-software/rejected-ingress-nginx",
            "retired-software/rejected-promtail",
            "retired-software/rejected-values-file",
        ),
    ),
}
NOT_IN_A_LAB_FILE = {
    40: "a renamed or removed stateful workload is seen only against what was applied: the plan calls it data-loss",
}
ACCEPTED_TRAPS = {
    38: "yaml/accepted-byte-order-mark-and-windows-lines",  # read as they are meant, for editors on Windows write them
}


def test_each_of_the_forty_two_is_refused_by_a_rule_or_can_be_in_no_lab_file() -> None:
    assert sorted({**BAD_INPUTS, **NOT_IN_A_LAB_FILE}) == list(range(1, 43))
    assert not set(BAD_INPUTS) & set(NOT_IN_A_LAB_FILE)


@pytest.mark.parametrize("number", BAD_INPUTS, ids=lambda n: f"{n}-{BAD_INPUTS[n][0]}")
def test_the_bad_input_has_its_rejected_fixtures(number: int) -> None:
    there = {name_of(path) for path in fixtures("rejected")}
    assert not set(BAD_INPUTS[number][1]) - there


def test_files_from_windows_editors_are_read() -> None:
    there = {name_of(path) for path in fixtures("accepted")}
    assert set(ACCEPTED_TRAPS.values()) <= there


def test_a_cluster_goes_up_one_minor_version_at_a_time_and_never_down() -> None:
    assert upgrade_complaint("v1.33.13+k3s1", "v1.34.9+k3s1") is None
    assert upgrade_complaint("v1.33.1+k3s1", "v1.33.13+k3s2") is None
    assert upgrade_complaint("v1.33.13+k3s1", "v1.35.7+k3s1") == (
        "from v1.33.13+k3s1 to v1.35.7+k3s1 skips 1 minor version",
        "Go to v1.34.9+k3s1 first.",
    )
    assert "cannot go back" in str(upgrade_complaint("v1.34.9+k3s1", "v1.33.13+k3s1"))


def test_an_agent_is_never_newer_than_its_server() -> None:
    assert skew_complaint("v1.34.9+k3s1", "v1.33.13+k3s1") is None
    assert "newer" in str(skew_complaint("v1.33.13+k3s1", "v1.34.9+k3s1"))
    assert "too old" in str(skew_complaint("v1.36.4+k3s1", "v1.32.1+k3s1"))


@pytest.mark.parametrize("text", ["v1.33.13+k3s1", "v1.36.4+k3s1", "v1.28.4+k3s1", "v1.33.14+k3s2", "v1.35.0+k3s3"])
def test_versions_that_exist_or_may_have_come_out_since_are_let_through(text: str) -> None:
    assert complaint(text) is None


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("v1.99.0+k3s1", "v1.36.4+k3s1"),
        ("v1.34.99+k3s1", "v1.34.9+k3s1"),
        ("1.33", "v1.33.13+k3s1"),
        ("v1.33.13-k3s1", "v1.33.13+k3s1"),
        ("v1.33.13+rke2r1", "v1.33.13+k3s1"),
        ("5.4.0", "v1.33.13+k3s1"),
        ("v2.0.0+k3s1", "v1.33.13+k3s1"),
    ],
)
def test_versions_that_cannot_exist_are_refused_with_one_that_does(text: str, better: str) -> None:
    found = complaint(text)
    assert found is not None
    assert better in found[1]
