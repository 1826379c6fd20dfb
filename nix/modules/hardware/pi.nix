# Raspberry Pi 3, 4, 5 and Zero 2. Kernel, firmware and config.txt come from nixos-raspberrypi (lib/system.nix), whose
# options exist for a Pi alone: other hosts must not even mention them.
{ lib, lab, host, ... }:
let
  pi = import ../../lib/pi.nix { inherit lib; } host;
  isCard = (host.settings.image or "none") == "sd";
in
lib.optionalAttrs (pi != null) {
  # The firmware says cgroup_disable=memory; of two words the later one counts, and these come later.
  boot.kernelParams = lib.mkIf (host.k3s != null) [ "cgroup_enable=memory" "cgroup_memory=1" ];

  # The loader that keeps several generations on the firmware partition, 53 MB each.
  boot.loader.raspberry-pi = {
    bootloader = "kernel";
    configurationLimit = lib.min 15 (lab.settings.nix.generations or 5);
  };

  # An SD image brings its own partitions; elsewhere they are expected under the same labels.
  fileSystems = lib.mkIf (!isCard) {
    "/" = {
      device = lib.mkDefault "/dev/disk/by-label/NIXOS_SD";
      fsType = lib.mkDefault "ext4";
    };
    "/boot/firmware" = {
      device = "/dev/disk/by-label/FIRMWARE";
      fsType = "vfat";
      options = [ "noatime" "nofail" ];
    };
  };
}
// lib.optionalAttrs (pi != null && isCard) {
  sdImage = {
    firmwareSize = 1024;
    compressImage = false;
  };
}
