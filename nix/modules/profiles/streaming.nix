# Streams to others and from others. Parsec is unfree: the lab allows it by nix.unfree.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "streaming" config.homelab.profiles) {
    boot.extraModulePackages = [ config.boot.kernelPackages.v4l2loopback ];
    boot.kernelModules = [ "v4l2loopback" ];
    environment.systemPackages = [
      pkgs.moonlight-qt
      pkgs.obs-studio
    ]
    ++ lib.optional (lib.elem "parsec" config.homelab.unfree) pkgs.parsec-bin;
  };
}
