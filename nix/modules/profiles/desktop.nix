# What every desktop has, i3 and Hyprland among them: sound, fonts, printing, a browser.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.any (name: lib.elem name config.homelab.profiles) [ "desktop" "hyprland" "i3" ]) {
    hardware.graphics.enable = lib.mkDefault true;
    services.pipewire = {
      enable = lib.mkDefault true;
      pulse.enable = lib.mkDefault true;
      alsa.enable = lib.mkDefault true;
    };
    security.rtkit.enable = lib.mkDefault true;
    security.polkit.enable = lib.mkDefault true;
    services.printing.enable = lib.mkDefault true;
    services.fwupd.enable = lib.mkDefault true;
    fonts.enableDefaultPackages = lib.mkDefault true;
    programs.dconf.enable = lib.mkDefault true;
    environment.systemPackages = [
      pkgs.firefox
      pkgs.gparted
      pkgs.keepassxc
      pkgs.pavucontrol
    ];
  };
}
