# Pictures, sound and films.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "multimedia" config.homelab.profiles) {
    environment.systemPackages = [
      pkgs.audacity
      pkgs.ffmpeg
      pkgs.gimp
      pkgs.inkscape
      pkgs.kdePackages.kdenlive
      pkgs.mpv
      pkgs.vlc
    ];
  };
}
