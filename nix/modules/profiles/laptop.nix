# A machine that is carried: battery, lid, wireless.
{ config, lib, ... }:
{
  config = lib.mkIf (lib.elem "laptop" config.homelab.profiles) {
    services.tlp.enable = lib.mkDefault true;
    services.power-profiles-daemon.enable = lib.mkDefault false;
    services.upower.enable = lib.mkDefault true;
    hardware.enableRedistributableFirmware = lib.mkDefault true;
  };
}
