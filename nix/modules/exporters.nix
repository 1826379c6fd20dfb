# Prometheus exporters of a host, by the names that a lab gives them. Some services answer with metrics themselves.
{ config, lib, ... }:
let
  inherit (lib) mkDefault mkOption types;
  inherit (config.homelab) host exporters;
  own = [ "prometheus" "grafana" "alertmanager" "loki" "garage" ];
  all = lib.removeAttrs exporters own;
  settings = {
    postgres.runAsLocalSuperUser = mkDefault true;
    # What needs no target of its own: names for the web, its own interfaces.
    blackbox.configFile = mkDefault (builtins.toFile "blackbox.yml" (builtins.toJSON {
      modules = {
        http_2xx.prober = "http";
        tcp_connect.prober = "tcp";
        icmp.prober = "icmp";
      };
    }));
    process.settings.process_names = mkDefault [
      {
        name = "{{.Comm}}";
        cmdline = [ ".+" ];
      }
    ];
    snmp.configuration = mkDefault { };
    nextcloud = {
      url = mkDefault "http://localhost";
      tokenFile = mkDefault config.homelab.secrets.nextcloud-exporter.path;
    };
  };
in
{
  options.homelab.exporters = mkOption {
    type = types.attrsOf (
      types.submodule {
        options.port = mkOption {
          type = types.port;
          description = "Port it answers on.";
        };
      }
    );
    default = { };
    description = "Prometheus exporters of this host.";
  };

  config = {
    services.prometheus.exporters = lib.mapAttrs (
      name: exporter:
      {
        enable = true;
        port = mkDefault exporter.port;
        # The firewall of the lab says who may ask; an address of its own may come later than the service.
        listenAddress = mkDefault "0.0.0.0";
        openFirewall = mkDefault false;
      }
      // settings.${name} or { }
    ) all;
    homelab.health.units = map (name: "prometheus-${name}-exporter.service") (lib.attrNames all);
    homelab.health.listen = lib.mapAttrsToList (
      _: exporter: "${if host.address == null then "127.0.0.1" else host.address}:${toString exporter.port}"
    ) (lib.filterAttrs (name: _: name == "node") all);
  };
}
