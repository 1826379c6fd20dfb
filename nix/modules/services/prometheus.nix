# Prometheus, which asks every exporter of the lab.
{ config, lib, ... }:
let
  inherit (config.homelab) lab;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.prometheus;
  # One job for what is asked by the same path under the same name.
  groups = lib.groupBy (target: "${target.job}${target.path}") lab.scrape_targets;
  job = targets: {
    job_name = if (lib.head targets).path == "/metrics" then (lib.head targets).job else "${(lib.head targets).job}${lib.replaceStrings [ "/" ] [ "-" ] (lib.head targets).path}";
    metrics_path = (lib.head targets).path;
    static_configs = map (target: {
      targets = [ target.address ];
      labels.host = target.instance;
    }) targets;
  };
in
{
  options.homelab.services.prometheus = {
    enable = o.enable "Prometheus";
    port = o.port 9090 "Port of its page and API.";
    keep = o.number 1296000 "How long readings are kept, in seconds.";
  };
  config = lib.mkIf cfg.enable {
    services.prometheus = {
      enable = true;
      inherit (cfg) port;
      retentionTime = lib.mkDefault "${toString cfg.keep}s";
      globalConfig.scrape_interval = lib.mkDefault "15s";
      scrapeConfigs = map job (lib.attrValues groups);
    };
    homelab.health.units = [ "prometheus.service" ];
  };
}
