# Radio by software: receivers are reached without root.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "sdr" config.homelab.profiles) {
    hardware.rtl-sdr.enable = true;
    hardware.hackrf.enable = lib.mkDefault true;
    environment.systemPackages = [
      pkgs.gnuradio
      pkgs.gqrx
      pkgs.rtl_433
    ];
  };
}
