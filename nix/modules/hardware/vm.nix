# Virtual machines; VirtualBox and Hyper-V images get their file systems from the image's own module.
{ lib, host, ... }:
let
  isPlain = lib.elem host.board [ "vm" "libvirt" ];
in
{
  config = lib.mkIf isPlain {
    services.qemuGuest.enable = true;
    boot.growPartition = true;
    boot.loader.grub.device = lib.mkDefault "/dev/vda";
    boot.initrd.availableKernelModules = [ "virtio_blk" "virtio_net" "virtio_pci" "virtio_scsi" ];
    fileSystems."/" = lib.mkDefault {
      device = "/dev/disk/by-label/nixos";
      fsType = "ext4";
      autoResize = true;
    };
  };
}
