# Alertmanager. Where alerts go is NixOS' own option (services.prometheus.alertmanager.configuration).
{ config, lib, ... }:
let
  inherit (config.homelab) services;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = services.alertmanager;
in
{
  options.homelab.services.alertmanager = {
    enable = o.enable "Alertmanager";
    port = o.port 9093 "Port of its page and API.";
  };
  config = lib.mkIf cfg.enable {
    services.prometheus.alertmanager = {
      enable = true;
      inherit (cfg) port;
      configuration = lib.mkDefault {
        route.receiver = "none";
        receivers = [ { name = "none"; } ];
      };
    };
    services.prometheus.alertmanagers = lib.mkIf services.prometheus.enable [
      { static_configs = [ { targets = [ "127.0.0.1:${toString cfg.port}" ]; } ]; }
    ];
    homelab.health.units = [ "alertmanager.service" ];
  };
}
