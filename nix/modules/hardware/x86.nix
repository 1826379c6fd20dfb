# PCs and servers that start by UEFI from disks labelled `nixos` and `boot`.
{ lib, host, ... }:
{
  config = lib.mkIf (host.arch == "amd64" && !(lib.elem host.board [ "vm" "virtualbox" "hyperv" "libvirt" ])) {
    boot.loader.systemd-boot = {
      enable = true;
      configurationLimit = 20;
      editor = false;
    };
    boot.loader.efi.canTouchEfiVariables = true;
    boot.initrd.availableKernelModules = [ "ahci" "nvme" "sd_mod" "usb_storage" "xhci_pci" ];
    hardware.enableRedistributableFirmware = true;
    fileSystems."/" = {
      device = "/dev/disk/by-label/nixos";
      fsType = "ext4";
    };
    fileSystems."/boot" = {
      device = "/dev/disk/by-label/boot";
      fsType = "vfat";
      options = [ "umask=0077" ];
    };
  };
}
