# Hyprland, with its session at the login screen.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "hyprland" config.homelab.profiles) {
    programs.hyprland.enable = true;
    services.greetd = {
      enable = lib.mkDefault true;
      settings.default_session = {
        command = lib.mkDefault "${lib.getExe pkgs.tuigreet} --time --cmd Hyprland";
        user = lib.mkDefault "greeter";
      };
    };
    xdg.portal.enable = lib.mkDefault true;
    environment.systemPackages = [
      pkgs.foot
      pkgs.mako
      pkgs.waybar
      pkgs.wofi
    ];
  };
}
