"""The images that the workloads of examples/test-lab run from, made on this machine as `localhost/NAME:TAG`.

Belongs here: which image is made of what, and bringing all of them to the nodes. Not here: how images are made
(images.py, debian_images.py), or what the workloads are told (examples/test-lab/helm).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from homelab_platform.names import Say, silent
from homelab_platform.servers import seaweedfs
from homelab_platform_tests.testlab.debian_images import base_image, debian_image
from homelab_platform_tests.testlab.images import Files, Image

if TYPE_CHECKING:
    from homelab_platform_tests.testlab.cluster import TestCluster

POSTGRES = "/usr/lib/postgresql/15/bin"
"""Debian keeps PostgreSQL's own programs out of the usual path."""
LIBRARY = "usr/lib/postgresql/15/lib"


def _postgresql(say: Say) -> Image:
    compiler = ("usr/lib/*/libLLVM*", "usr/lib/*/libz3*", f"{LIBRARY}/bitcode", f"{LIBRARY}/llvmjit*")
    left = (*compiler, "var/lib/postgresql/15")
    image = debian_image("localhost/postgresql:15", ("postgresql-15",), without=left, entrypoint=(), progress=say)
    return replace(image, environment={"PATH": f"{POSTGRES}:/usr/sbin:/usr/bin:/sbin:/bin"})


def _seaweedfs(say: Say) -> Image:
    program = Files({"usr/bin/weed": seaweedfs.binary()})
    return base_image("localhost/seaweedfs:4", (program,), say)


def _mosquitto(say: Say) -> Image:
    return debian_image("localhost/mosquitto:2", ("mosquitto",), entrypoint=(), progress=say)


def _python(say: Say) -> Image:
    return debian_image("localhost/python:3", ("python3",), entrypoint=(), progress=say)


def _prometheus(say: Say) -> Image:
    left = ("usr/bin/promtool", "usr/share/javascript/moment-timezone/data/unpacked")
    return debian_image("localhost/prometheus:2", ("prometheus",), without=left, entrypoint=(), progress=say)


def _nginx(say: Say) -> Image:
    start = ("nginx", "-g", "daemon off;")
    return debian_image("localhost/nginx:1", ("nginx-light",), entrypoint=start, progress=say)


WORKLOADS: Mapping[str, Callable[[Say], Image]] = {
    "postgresql": _postgresql,
    "seaweedfs": _seaweedfs,
    "mosquitto": _mosquitto,
    "collector": _python,
    "prometheus": _prometheus,
    "nginx": _nginx,
}
"""How the image of each workload of the example is made."""


def lab_images(say: Say = silent) -> list[Image]:
    """The images of all workloads of examples/test-lab; their layers are made first if need be (minutes, once).

    Raises HomelabError when a package cannot be had.
    """
    return [make(say) for make in WORKLOADS.values()]


def bring_images(cluster: TestCluster, say: Say = silent) -> None:
    """Make these images and bring them to every node of the cluster; one that a node has already costs little.

    Raises HomelabError when one cannot be made.
    """
    images = lab_images(say)
    say(f"bringing {len(images)} images to {', '.join(cluster.nodes)}")
    cluster.bring(*images)
