# Disks of lab.json that are mounted, apart from the one that the system starts from. One without `device` is known by
# its name as label. A disk that is missing does not keep the host from starting: nobody sits before it.
{ config, lib, ... }:
let
  inherit (config.homelab) host;
  disks = lib.attrValues host.disks;
  root = lib.findFirst (disk: disk.mount == "/") null disks;
  further = lib.filter (disk: disk.mount != null && disk.mount != "/") disks;
in
{
  fileSystems = lib.mkMerge [
    (lib.listToAttrs (
      map (disk: {
        name = disk.mount;
        value = {
          device = if disk.device == null then "/dev/disk/by-label/${disk.name}" else disk.device;
          fsType = disk.filesystem;
          options = [ "nofail" "x-systemd.device-timeout=30s" ];
        };
      }) further
    ))
    # Stronger than what a board expects, weaker than an image, which knows its own disk.
    (lib.optionalAttrs (root != null) {
      "/" = {
        device = lib.mkIf (root.device != null) (lib.mkOverride 500 root.device);
        fsType = lib.mkIf (root.filesystem != null) (lib.mkOverride 500 root.filesystem);
      };
    })
  ];
}
