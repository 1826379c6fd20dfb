"""`python -m homelab_platform_tests.testlab up|demo|down|status|install`: the lab for people; make calls it."""

from __future__ import annotations

import sys

from homelab_platform.errors import HomelabError
from homelab_platform.servers.install.helm import helm_binary, kubectl_binary
from homelab_platform.servers.supervise import launch
from homelab_platform_tests.testlab import addresses, guardian, lab, store
from homelab_platform_tests.testlab.lab import TestLab

KEY = "people"


def up() -> None:
    """Start the lab at the addresses of examples/test-lab/lab.yaml, its cluster too; it stays until `down`."""
    from homelab_platform_tests.testlab import busybox
    from homelab_platform_tests.testlab.cluster import start_cluster

    _say("starting three hosts")
    running = lab.start(KEY, number=addresses.PEOPLE, keep=True, progress=_say)
    _say("starting Kubernetes on two of them")
    cluster = start_cluster(running, _say)
    cluster.bring(busybox.busybox_image(_say))
    print("\nThe test lab runs. Its lab file is examples/test-lab/lab.yaml.\n")
    for host in running.hosts:
        part = {"server": "  Kubernetes server and node", "agent": "  Kubernetes node", None: ""}[host.spec.kube]
        print(f"  {host.name}  {host.address}{part}")
    print(f"\n  ssh -F {running.place.ssh_config} {running.hosts[0].name}")
    print(f"  export KUBECONFIG={cluster.kubeconfig}\n  export PATH={kubectl_binary().parent}:$PATH")
    print("  kubectl get nodes          helm version")
    print(f"\nIn pods, {busybox.NAME} is there (imagePullPolicy: Never). `make test-lab-down` removes all of it.")


def demo() -> None:
    """The same lab made real by the platform, from empty hosts to a mart; site and lab stay until `down`."""
    from homelab_platform_tests.testlab import demo as loop_of

    running = lab.start(KEY, number=addresses.PEOPLE, keep=True, progress=_say)
    loop, _ = loop_of.begin(running, loop_of.HOME, _say)
    loop_of.close_the_loop(loop)
    print(loop_of.farewell(loop))


def down() -> None:
    """Remove the lab for people with what the demo left beside it, and whatever killed labs left."""
    from homelab_platform_tests.testlab import demo as loop_of

    if loop_of.leave():
        _say("the demo's site is stopped and gone")
    for place in store.all_labs():
        if (place.folder / store.OWNERS / store.KEPT).exists():
            TestLab(place).stop()
            _say(f"test lab {place.id} is gone")
    with launch.exclusive(store.home() / ".lock"):
        gone = guardian.sweep()
    for swept in gone:
        _say(f"cleared away what was left of test lab {swept}")


def status() -> None:
    """Say which labs run, and which of their hosts answer."""
    for place in store.all_labs():
        state = "runs" if store.guardian_of(place.folder) else "is dead"
        print(f"{place.id} at {place.addresses.lan} {state}")
        for host in TestLab(place).hosts:
            print(f"  {host.name}  {host.address}  {'answers' if host.answers() else 'does not answer'}")


def install() -> None:
    """Fetch and build what a lab takes, so that a first start is as quick as any; nothing where there can be no lab."""
    from homelab_platform_tests.testlab import busybox, debian, lab_images, programs, requirements

    reason = requirements.why_not()
    if reason:
        _say(reason)
        return
    requirements.require(_say, cluster=True)
    for part in (debian.installed, helm_binary, busybox.busybox_image, programs.addons, programs.kube):
        part(_say)
    lab_images.lab_images(_say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(words: list[str]) -> int:
    """Do what is asked; 2 for a word that is not known, 1 for what went wrong."""
    known = {"up": up, "down": down, "status": status, "install": install, "demo": demo}
    if len(words) != 1 or words[0] not in known:
        _say(f"say one of {', '.join(known)}")
        return 2
    try:
        known[words[0]]()
    except HomelabError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
