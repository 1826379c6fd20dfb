# Folders of other machines. They are mounted when they are used, so that a NAS that is off keeps nothing from starting.
{ config, lib, ... }:
let
  inherit (config.homelab) lab host;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.nfs-client;
  storage = lab.storage.nfs or null;
  ofLab = lib.optionalAttrs (storage != null && (storage.mode or "") == "host-mount" && host.k3s != null && (storage.mount or null) != null) {
    ${storage.mount} = "${storage.server}:${storage.path}";
  };
  # By the address that the lab knows: a mount must not depend on DNS that may run on it.
  device =
    source:
    let
      parts = lib.splitString ":" source;
      known = lab.hosts.${lib.head parts}.address or null;
    in
    if known == null then source else "${known}:${lib.concatStringsSep ":" (lib.tail parts)}";
in
{
  options.homelab.services.nfs-client = {
    enable = o.enable "mounts of NFS folders";
    mounts = o.mapping "Mount points to <host>:<folder>.";
  };
  config = lib.mkIf cfg.enable {
    boot.supportedFilesystems.nfs = true;
    fileSystems = lib.mapAttrs (_: source: {
      device = device source;
      fsType = "nfs";
      options = [ "nfsvers=4" "noatime" "nofail" "_netdev" "x-systemd.automount" "x-systemd.mount-timeout=30s" ];
    }) (ofLab // cfg.mounts);
  };
}
