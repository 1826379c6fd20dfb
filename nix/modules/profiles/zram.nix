# Swap in compressed memory.
{ config, lib, ... }:
{
  config = lib.mkIf (lib.elem "zram" config.homelab.profiles) {
    homelab.services.zram.enable = lib.mkDefault true;
  };
}
