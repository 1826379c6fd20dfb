# Raspberry Pi 3, 4, 5, Zero 2 and compute modules. Kernel, firmware and config.txt come from nixos-raspberrypi, which
# has the options of `boot.loader.raspberry-pi`: lib/system.nix takes this module for Pis alone.
{ config, lib, ... }:
let
  inherit (lib) mkDefault;
  inherit (config.homelab) lab host;
  isCard = (host.settings.image or "none") == "sd";
in
{
  # The firmware says cgroup_disable=memory; of two words the later one counts, and these come later.
  boot.kernelParams = lib.mkIf (host.k3s != null) [ "cgroup_enable=memory" "cgroup_memory=1" ];

  # The loader that keeps several generations on the firmware partition, 53 MB each.
  boot.loader.raspberry-pi = {
    bootloader = mkDefault "kernel";
    configurationLimit = mkDefault (lib.min 15 (lab.settings.nix.generations or 5));
  };

  # The image's rescue tools bring ZFS, a kernel module and one host id for every Pi.
  boot.supportedFilesystems.zfs = lib.mkIf (!config.homelab.services.zfs.enable) (lib.mkForce false);

  # An SD image brings its own partitions; elsewhere they are expected under the same labels.
  fileSystems = lib.mkIf (!isCard) {
    "/" = {
      device = mkDefault "/dev/disk/by-label/NIXOS_SD";
      fsType = mkDefault "ext4";
    };
    "/boot/firmware" = {
      device = mkDefault "/dev/disk/by-label/FIRMWARE";
      fsType = mkDefault "vfat";
      options = [ "noatime" "nofail" ];
    };
  };
}
