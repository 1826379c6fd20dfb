# The marks of the ZFS pools of this host that a folder lies on: what has its data there waits for the pool, and does
# not lay it down below the mount point of one that was never made.
{ lib, lab, host }:
folder:
let
  pools = lib.attrNames (lib.filterAttrs (_: pool: pool.host == host.name) (lab.storage.zfs or { }));
in
map (pool: "/var/lib/homelab/pools/${pool}") (lib.filter (pool: lib.hasPrefix "/${pool}/" folder) pools)
