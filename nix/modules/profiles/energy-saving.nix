# Less energy: processors, disks and USB devices that rest.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "energy-saving" config.homelab.profiles) {
    powerManagement = {
      enable = lib.mkDefault true;
      powertop.enable = lib.mkDefault (!config.services.tlp.enable);
      cpuFreqGovernor = lib.mkDefault (if config.services.tlp.enable then null else "schedutil");
    };
  };
}
