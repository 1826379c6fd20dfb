# PCs and servers that start by UEFI from disks labelled `nixos` and `boot`.
{ lib, lab, host, ... }:
let
  virtual = [ "vm" "virtualbox" "hyperv" "libvirt" ];
in
{
  config = lib.mkIf (host.arch == "amd64" && !(lib.elem host.board virtual)) {
    boot.loader.systemd-boot = {
      enable = true;
      configurationLimit = lab.settings.nix.generations or 5;
      editor = false;
    };
    boot.loader.efi.canTouchEfiVariables = true;
    boot.initrd.availableKernelModules = [ "ahci" "nvme" "sd_mod" "usb_storage" "xhci_pci" ];
    hardware.enableRedistributableFirmware = true;
    hardware.cpu.amd.updateMicrocode = true;
    hardware.cpu.intel.updateMicrocode = true;
    fileSystems."/" = {
      device = lib.mkDefault "/dev/disk/by-label/nixos";
      fsType = lib.mkDefault "ext4";
    };
    fileSystems."/boot" = {
      device = "/dev/disk/by-label/boot";
      fsType = "vfat";
      options = [ "umask=0077" ];
    };
  };
}
