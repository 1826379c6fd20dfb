# PCs, servers and ARM machines that start by UEFI from disks labelled `nixos` and `boot`.
{ config, lib, ... }:
let
  inherit (lib) mkDefault;
  inherit (config.homelab) lab host;
  isPc = host.arch == "amd64";
in
{
  config = lib.mkIf (lib.elem host.board [ "x86" "laptop" "arm64" ]) {
    boot.loader.systemd-boot = {
      enable = mkDefault true;
      configurationLimit = mkDefault (lab.settings.nix.generations or 5);
      editor = mkDefault false;
    };
    boot.loader.efi.canTouchEfiVariables = mkDefault true;
    boot.initrd.availableKernelModules = [ "ahci" "nvme" "sd_mod" "usb_storage" "xhci_pci" ];
    hardware.enableRedistributableFirmware = mkDefault true;
    hardware.cpu.amd.updateMicrocode = mkDefault isPc;
    hardware.cpu.intel.updateMicrocode = mkDefault isPc;
    fileSystems."/" = {
      device = mkDefault "/dev/disk/by-label/nixos";
      fsType = mkDefault "ext4";
    };
    fileSystems."/boot" = {
      device = mkDefault "/dev/disk/by-label/boot";
      fsType = mkDefault "vfat";
      options = [ "umask=0077" ];
    };
  };
}
