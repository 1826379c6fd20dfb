# A time server for the LAN.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.chrony;
  inherit (config.homelab) lab;
in
{
  options.homelab.services.chrony.enable = o.enable "chrony";
  config = lib.mkIf cfg.enable {
    services.chrony = {
      enable = true;
      extraConfig = lib.concatMapStrings (network: "allow ${network}\n") (
        lib.filter (network: network != null) [ lab.network.lan lab.network.lan6 ]
      );
    };
    homelab.health.units = [ "chronyd.service" ];
  };
}
