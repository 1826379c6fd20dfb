# Klipper's API for pages and slicers.
{ config, lib, ... }:
let
  inherit (config.homelab) host lab services;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = services.moonraker;
  lan = lib.filter (network: network != null) [ lab.network.lan lab.network.lan6 ];
in
{
  options.homelab.services.moonraker = {
    enable = o.enable "Moonraker";
    port = o.port 7125 "Port of its API.";
    data = o.text "/var/lib/moonraker" "Folder of its data.";
    trusted = o.list lan "Networks that need no login.";
    system_control = o.flag false "Whether its page may restart the host.";
  };
  config = lib.mkIf cfg.enable {
    services.moonraker = {
      enable = true;
      inherit (cfg) port;
      address = lib.mkDefault "0.0.0.0";
      stateDir = lib.mkDefault cfg.data;
      allowSystemControl = cfg.system_control;
      settings.authorization = {
        trusted_clients = [ "127.0.0.0/8" ] ++ cfg.trusted;
        cors_domains = [ "http://${host.name}" "http://*.${lab.network.domain}" ] ++ lib.optional (host.address != null) "http://${host.address}";
      };
    }
    // lib.optionalAttrs services.klipper.enable {
      user = "klipper";
      group = "klipper";
    };
    security.polkit.enable = lib.mkIf cfg.system_control true;
    homelab.health.units = [ "moonraker.service" ];
  };
}
