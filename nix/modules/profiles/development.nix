# Compilers and tools for people who write programs.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "development" config.homelab.profiles) {
    programs.direnv.enable = lib.mkDefault true;
    programs.git.enable = lib.mkDefault true;
    environment.systemPackages = [
      pkgs.cmake
      pkgs.gcc
      pkgs.gdb
      pkgs.gnumake
      pkgs.jq
      pkgs.nixfmt-rfc-style
      pkgs.python3
      pkgs.ripgrep
      pkgs.shellcheck
    ];
  };
}
