# Games. Steam is unfree: the lab allows it by nix.unfree.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "gaming" config.homelab.profiles) {
    programs.steam.enable = lib.mkIf (lib.elem "steam" config.homelab.unfree) (lib.mkDefault true);
    programs.gamemode.enable = lib.mkDefault true;
    hardware.graphics = {
      enable = true;
      enable32Bit = lib.mkDefault (config.nixpkgs.hostPlatform.system == "x86_64-linux");
    };
    environment.systemPackages = [
      pkgs.lutris
      pkgs.mangohud
    ];
  };
}
