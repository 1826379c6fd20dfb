# Slicers and tools for printing in three dimensions.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "3d-printing" config.homelab.profiles) {
    environment.systemPackages = [
      pkgs.openscad
      pkgs.orca-slicer
      pkgs.prusa-slicer
    ];
  };
}
