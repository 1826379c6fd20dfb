# Watches disks by what they say of themselves, without waking those that stand still.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.smartd;
in
{
  options.homelab.services.smartd.enable = o.enable "smartd";
  config = lib.mkIf cfg.enable {
    services.smartd = {
      enable = true;
      defaults.autodetected = lib.mkDefault "-a -n standby,q -s (S/../.././02|L/../../7/04)";
    };
    homelab.health.units = [ "smartd.service" ];
  };
}
