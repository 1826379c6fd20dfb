# Swap in compressed memory.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.zram;
in
{
  options.homelab.services.zram = {
    enable = o.enable "swap in compressed memory";
    percent = o.number 50 "Most of the memory that it may hold.";
  };
  config.zramSwap = lib.mkIf cfg.enable {
    enable = true;
    memoryPercent = lib.mkDefault cfg.percent;
  };
}
