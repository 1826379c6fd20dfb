# Raspberry Pi 3, 4, 5 and Zero 2. Kernel, firmware and config.txt come from nixos-raspberrypi (lib/system.nix).
{ lib, host, ... }:
let
  pi = import ../../lib/pi.nix { inherit lib; } host;
in
{
  config = lib.mkIf (pi != null) (lib.mkMerge [
    {
      # The firmware says cgroup_disable=memory; of two words the later one counts, and these come later.
      boot.kernelParams = lib.optionals (host.k3s != null) [ "cgroup_enable=memory" "cgroup_memory=1" ];
      hardware.enableRedistributableFirmware = true;
      services.journald.storage = "persistent";
    }
    # An SD card image brings its own partitions (and labels them so); the generational loader keeps several
    # generations on the firmware partition, 53 MB each.
    (lib.optionalAttrs ((host.settings.image or "none") == "sd") {
      boot.loader.raspberry-pi.bootloader = "kernel";
      boot.loader.raspberry-pi.configurationLimit = 5;
      sdImage.firmwareSize = 1024;
      sdImage.compressImage = false;
      sdImage.expandOnBoot = true;
    })
  ]);
}
