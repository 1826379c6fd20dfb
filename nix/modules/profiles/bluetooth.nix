# Bluetooth, and a tool to pair devices.
{ config, lib, ... }:
{
  config = lib.mkIf (lib.elem "bluetooth" config.homelab.profiles) {
    hardware.bluetooth = {
      enable = true;
      powerOnBoot = lib.mkDefault true;
    };
    services.blueman.enable = lib.mkDefault config.services.xserver.enable;
  };
}
