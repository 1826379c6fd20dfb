"""What the loader says, word for word: errors are a product."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform_tests.lab.helpers import complaints

CASES = {
    "a typo in a key": (
        "lab: x\nworkloads:\n  trino: {}\nhosts:\n  pi-1: {bord: pi5-8gb, os: raspios}\n",
        "lab.yaml:5:3: pi-1: board is missing\n"
        "    What it is: a Pi with its memory, x86, vm, nas … For example board: pi5-8gb.\n"
        "lab.yaml:5:10: pi-1: unknown key bord\n"
        "    Did you mean board?",
    ),
    "a typo at the top": (
        "lab: x\nstorge: nfs\n",
        "lab.yaml:2:1: unknown key storge\n    Did you mean storage?",
    ),
    "a word that is not in the list": (
        "lab: x\nhosts:\n  pi-1: {board: pi5-8gb, os: rasbian}\n",
        "lab.yaml:3:30: pi-1: os: rasbian is not one of nixos, raspios, debian, external\n    Did you mean raspios?",
    ),
    "a board that nobody sells": (
        "lab: x\nhosts:\n  pi-1: {board: pi5-8, os: nixos}\n",
        "lab.yaml:3:17: pi-1: board: pi5-8 is not a board\n    Did you mean pi5-8gb?",
    ),
    "a version that YAML made a number": (
        "lab: x\ncluster: {k3s: 1.30}\n",
        "lab.yaml:2:16: cluster: k3s: this version was read as a number\n    Put it in quotes, or 1.30 becomes 1.3.",
    ),
    "text that YAML made a number": (
        "lab: x\ndescription: 1.30\n",
        "lab.yaml:2:14: description: 1.30 is not text\n    Put it in quotes: '1.30'.",
    ),
    "a word where a boolean is due": (
        "lab: x\npeople:\n  ada: {role: admin, mfa: yes}\n",
        "lab.yaml:3:27: ada: mfa: yes is not true or false\n"
        "    Write true or false; other words (yes, no, on, off) are text in YAML 1.2.",
    ),
    "a secret in plain text": (
        "lab: x\nnetwork: {dns: {cloudflare: {token: v1.0-abcdef}}}\n",
        "lab.yaml:2:37: dns: token: a secret stands here in plain text\n"
        "    Put it away and refer to it: sops:secrets/NAME.yaml#key, env:NAME or file:path.",
    ),
    "a bad name": (
        "lab: x\nhosts:\n  Pi_1: {board: pi3, os: raspios}\n",
        "lab.yaml:3:3: Pi_1 cannot be a name\n"
        "    Names are DNS labels: lower-case letters, digits and hyphens inside. Write pi-1.",
    ),
    "everything at once": (
        "lab: x\ntimezone: Europe/Londn\nnetwork: {lan: 192.168.0.7/24, dhcp: 192.168.0.99-20}\nhosts:\n"
        "  pi-1: {board: x86, os: nixos}\nworkloads: {trino: {memory: 2Gb}}\n",
        "lab.yaml:2:11: timezone: Europe/Londn is not a time zone\n    Did you mean Europe/London?\n"
        "lab.yaml:3:16: network: lan: 192.168.0.7/24 has host bits set\n    The network is 192.168.0.0/24.\n"
        "lab.yaml:3:38: network: dhcp: the range 192.168.0.99-20 ends before it starts\n"
        "    Write the lower address first: 192.168.0.20-192.168.0.99.\n"
        "lab.yaml:5:9: pi-1: board x86 does not say its cpu and memory\n"
        "    Write them: cpu: 8, memory: 32Gi.\n"
        "lab.yaml:6:29: trino: memory: 2Gb is not a size\n    Write 2Gi.",
    ),
    "a host service that nobody knows": (
        "lab: x\nhosts:\n  pi-1: {board: pi3, os: raspios, services: {wiregard: {}, samba: {share: {}}}}\n",
        "lab.yaml:3:46: pi-1: no host service is called wiregard\n    Did you mean wireguard?\n"
        "lab.yaml:3:68: samba: unknown key share\n    Did you mean shares?",
    ),
    "a list where a mapping is due": (
        "lab: x\nhosts: [pi-1]\n",
        "lab.yaml:2:8: hosts: a list is not a mapping\n    Write names with values below it, indented.",
    ),
    "nothing where something is due": (
        "lab:\n",
        "lab.yaml:1:5: lab: missing name\n    Write one, or leave the key out.",
    ),
    "a lab of the future": (
        "version: 2\nlab: x\n",
        "lab.yaml:1:10: version 2 of the language is not known\n    Update the platform.",
    ),
    "not a mapping at all": (
        "- a\n",
        "lab.yaml:1:1: the file is not a mapping\n    Write keys and values: lab: home.",
    ),
    "two sources in one stream": (
        "lab: x\nstreams:\n  a: {from: {mqtt: a/b, files: drop}}\n",
        "lab.yaml:3:13: a: from: a stream has one source; this has 2 sources (mqtt, files)\n"
        "    Make one stream per source.",
    ),
    "a boolean of Helm that YAML 1.2 reads as text": (
        "lab: x\nworkloads:\n  trino: {values: {enabled: no}}\n",
        "lab.yaml:3:29: no is not quoted\n    Helm reads it as a boolean: write true or false, or quote it.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_answered_in_these_words(tmp_path: Path, case: str) -> None:
    text, said = CASES[case]
    assert complaints(tmp_path, text) == said


def test_an_empty_file_says_what_is_missing(tmp_path: Path) -> None:
    assert complaints(tmp_path, "") == "lab.yaml:1:1: lab is missing\n    Name of the lab. For example lab: pi-cluster."


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    from homelab_platform.errors import HomelabError
    from homelab_platform.lab.load import load_lab

    with pytest.raises(HomelabError, match="there is no such file"):
        load_lab(tmp_path / "nowhere.yaml")
    with pytest.raises(HomelabError, match="cannot be read"):
        load_lab(tmp_path)
