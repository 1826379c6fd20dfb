"""The first lab file of a newcomer.

Belongs here: its text, for `homelab init`.
"""

from __future__ import annotations

import re

SCHEMA_LINE = "# yaml-language-server: $schema=lab.schema.json"

_STARTER = """\
{schema}
# Your lab. Say what is special; the rest has defaults: `homelab show --why` names each one and where it comes from.
version: 1
lab: {name}
domain: {name}.home.arpa              # services are reached at <service>.<domain>
timezone: UTC                        # all times below are in this zone, such as Europe/London

network:
  lan: 192.168.1.0/24
  gateway: 192.168.1.1
  dhcp: 192.168.1.20-99              # what your router gives out
  load_balancers: 192.168.1.200-250  # free addresses for services, outside the DHCP range

hosts:                               # names are hostnames
  pi-1: {{board: pi5-8gb, os: raspios, address: 192.168.1.10, k3s: server, disks: {{sd: 64Gi}}}}

people:
  me: {{role: admin}}                  # add your public key: ssh: keys/me.pub

workloads:                           # nothing after the name: as the catalogue has it
  metallb:

streams:
  machine:                           # readings of this very machine, to begin with
    from: machine
    sensors:
      cpu: {{unit: '%', range: [0, 100], every: 10s}}
    keep: {{raw: 30d, table: 2y}}

# backups:
#   to: {{nas: 'ssh://backup@192.168.1.5/volume1/lab'}}
#   nightly: {{at: '02:30', keep: 7d, drill: weekly}}

# patching: {{window: first Sunday 03:00-06:00}}
"""


def starter(name: str) -> str:
    """A small commented lab file that passes `homelab check`; `name` becomes the lab's name."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-") or "my-lab"
    return _STARTER.format(schema=SCHEMA_LINE, name=label)
