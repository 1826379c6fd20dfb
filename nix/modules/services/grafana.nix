# Grafana, with this host's Prometheus and Loki as sources.
{ config, lib, ... }:
let
  inherit (config.homelab) lab host secrets services;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.grafana;
  name = if cfg.hostname == null then host.name else cfg.hostname;
  source = type: port: {
    name = if type == "loki" then "Loki" else "Prometheus";
    inherit type;
    url = "http://127.0.0.1:${toString port}";
  };
in
{
  options.homelab.services.grafana = {
    enable = o.enable "Grafana";
    port = o.port 3000 "Port of its page.";
    hostname = o.maybe "Name in the lab's domain; the host's own when not said.";
    admin_password = o.secret "Reference to the admin's password.";
    dashboards = o.maybe "Folder at the host with dashboards.";
  };
  config = lib.mkIf cfg.enable {
    services.grafana = {
      enable = true;
      settings = {
        server = {
          http_addr = lib.mkDefault "0.0.0.0";
          http_port = cfg.port;
          domain = "${name}.${lab.network.domain}";
        };
        analytics = {
          reporting_enabled = lib.mkDefault false;
          check_for_updates = lib.mkDefault false;
        };
        security = {
          admin_password = lib.mkIf (cfg.admin_password != null) "$__file{${secrets.grafana-admin.path}}";
          secret_key = "$__file{${secrets.grafana-key.path}}";
        };
      };
      provision = {
        enable = true;
        datasources.settings.datasources =
          lib.optional services.prometheus.enable (source "prometheus" services.prometheus.port)
          ++ lib.optional services.loki.enable (source "loki" services.loki.port);
        dashboards.settings.providers = lib.optional (cfg.dashboards != null) {
          name = "lab";
          options.path = cfg.dashboards;
        };
      };
    };
    homelab.secrets = {
      grafana-key = {
        owner = "grafana";
        generate = true;
        units = [ "grafana.service" ];
      };
    }
    // lib.optionalAttrs (cfg.admin_password != null) {
      grafana-admin = {
        owner = "grafana";
        sources.value = cfg.admin_password;
        units = [ "grafana.service" ];
      };
    };
    homelab.health.units = [ "grafana.service" ];
  };
}
