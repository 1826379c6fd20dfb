# Graphics tablets.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "graphics-tablet" config.homelab.profiles) {
    hardware.opentabletdriver.enable = lib.mkDefault true;
    environment.systemPackages = [
      pkgs.krita
    ];
  };
}
