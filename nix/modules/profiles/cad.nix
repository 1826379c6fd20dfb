# Construction and circuit boards.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "cad" config.homelab.profiles) {
    environment.systemPackages = [
      pkgs.freecad
      pkgs.kicad
      pkgs.librecad
      pkgs.openscad
    ];
  };
}
