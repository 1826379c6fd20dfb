# Loki as one process with its data on this host's disk.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.loki;
  folder = config.services.loki.dataDir;
in
{
  options.homelab.services.loki = {
    enable = o.enable "Loki";
    port = o.port 3100 "Port of its API.";
    keep = o.number 2592000 "How long logs are kept, in seconds.";
  };
  config = lib.mkIf cfg.enable {
    services.loki = {
      enable = true;
      configuration = {
        auth_enabled = false;
        analytics.reporting_enabled = false;
        server.http_listen_port = cfg.port;
        common = {
          path_prefix = folder;
          replication_factor = 1;
          ring.kvstore.store = "inmemory";
          storage.filesystem = {
            chunks_directory = "${folder}/chunks";
            rules_directory = "${folder}/rules";
          };
        };
        schema_config.configs = [
          {
            from = "2024-01-01";
            store = "tsdb";
            object_store = "filesystem";
            schema = "v13";
            index = {
              prefix = "index_";
              period = "24h";
            };
          }
        ];
        limits_config.retention_period = "${toString cfg.keep}s";
        compactor = {
          working_directory = "${folder}/compactor";
          retention_enabled = true;
          delete_request_store = "filesystem";
        };
      };
    };
    homelab.health.units = [ "loki.service" ];
  };
}
