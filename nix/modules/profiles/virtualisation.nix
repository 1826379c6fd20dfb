# Virtual machines with a window each. The server is the host service libvirt.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "virtualisation" config.homelab.profiles) {
    homelab.services.libvirt.enable = lib.mkDefault true;
    programs.virt-manager.enable = lib.mkDefault true;
  };
}
