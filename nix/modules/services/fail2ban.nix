# Bans addresses that guess passwords, never those of the lab.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.fail2ban;
  inherit (config.homelab) lab;
in
{
  options.homelab.services.fail2ban.enable = o.enable "fail2ban";
  config = lib.mkIf cfg.enable {
    services.fail2ban = {
      enable = true;
      ignoreIP = lib.filter (network: network != null) [ lab.network.lan lab.network.lan6 ];
      bantime-increment.enable = lib.mkDefault true;
    };
    homelab.health.units = [ "fail2ban.service" ];
  };
}
