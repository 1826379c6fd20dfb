# Microcontrollers and circuits: boards are reached without root.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "electronics" config.homelab.profiles) {
    services.udev.packages = [ pkgs.platformio-core.udev ];
    environment.systemPackages = [
      pkgs.avrdude
      pkgs.gnucap
      pkgs.minicom
      pkgs.platformio
    ];
  };
}
