# Editors.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "editors" config.homelab.profiles) {
    programs.neovim = {
      enable = lib.mkDefault true;
      defaultEditor = lib.mkDefault true;
    };
    environment.systemPackages = [
      pkgs.emacs
    ];
  };
}
