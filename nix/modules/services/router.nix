# Routes between this host's networks, and hides them behind the address of its line.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.router;
  inherit (config.homelab) lab;
in
{
  options.homelab.services.router = {
    enable = o.enable "a router";
    wan = o.maybe "Interface to the internet.";
    nat = o.flag true "Whether what goes out gets the address of the line.";
  };
  config = lib.mkIf cfg.enable {
    boot.kernel.sysctl = {
      "net.ipv4.ip_forward" = lib.mkOverride 97 1;
      "net.ipv6.conf.all.forwarding" = lib.mkOverride 97 1;
    };
    networking.nat = lib.mkIf cfg.nat {
      enable = true;
      externalInterface = cfg.wan;
      internalIPs = lib.filter (network: network != null) [ lab.network.lan ] ++ lib.attrValues lab.network.vlans;
    };
  };
}
