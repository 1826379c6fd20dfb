# Virtual machines. The disk is as nixpkgs' image for that hypervisor makes it (lib/image.nix), so that a deploy fits
# the machine that its image started. A rented server is a QEMU machine like those of libvirt.
{ config, lib, ... }:
let
  inherit (config.homelab) host;
  isPlain = lib.elem host.board [ "vm" "libvirt" "cloud" ];
  isVirtualbox = host.board == "virtualbox";
  isHyperv = host.board == "hyperv";
in
{
  config = lib.mkMerge [
    (lib.mkIf (isPlain || isVirtualbox || isHyperv) {
      boot.growPartition = true;
      fileSystems."/" = {
        device = lib.mkDefault "/dev/disk/by-label/nixos";
        fsType = lib.mkDefault "ext4";
        autoResize = true;
      };
    })
    (lib.mkIf isPlain {
      services.qemuGuest.enable = lib.mkDefault true;
      boot.loader.grub.device = lib.mkDefault "/dev/vda";
      boot.initrd.availableKernelModules = [ "virtio_blk" "virtio_net" "virtio_pci" "virtio_scsi" ];
    })
    (lib.mkIf isVirtualbox {
      virtualisation.virtualbox.guest.enable = true;
      boot.loader.grub.device = lib.mkDefault "/dev/sda";
      boot.initrd.availableKernelModules = [ "ahci" "sd_mod" ];
    })
    (lib.mkIf isHyperv {
      virtualisation.hypervGuest.enable = true;
      boot.loader.grub = {
        device = "nodev";
        efiSupport = true;
        efiInstallAsRemovable = true;
      };
      fileSystems."/boot" = {
        device = "/dev/disk/by-label/ESP";
        fsType = "vfat";
      };
    })
  ];
}
