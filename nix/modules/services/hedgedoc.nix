# HedgeDoc, its database on this host.
{ config, lib, ... }:
let
  inherit (config.homelab) lab secrets services;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = services.hedgedoc;
  inherit (services.acme) certificate;
in
{
  options.homelab.services.hedgedoc = {
    enable = o.enable "HedgeDoc";
    port = o.port 3000 "Port of its page.";
    hostname = o.text "hedgedoc" "Name in the lab's domain.";
    database = o.text "hedgedoc" "Database, which belongs to a user of the same name.";
  };
  config = lib.mkIf cfg.enable {
    services.hedgedoc = {
      enable = true;
      environmentFile = secrets.hedgedoc.path;
      settings = {
        domain = if lib.hasInfix "." cfg.hostname then cfg.hostname else "${cfg.hostname}.${lab.network.domain}";
        inherit (cfg) port;
        host = lib.mkDefault "0.0.0.0";
        protocolUseSSL = lib.mkDefault (certificate != null);
        urlAddPort = lib.mkDefault (certificate == null);
        allowAnonymous = lib.mkDefault false;
        db = {
          dialect = "postgres";
          host = "/run/postgresql";
          username = cfg.database;
          inherit (cfg) database;
        };
      };
    };
    services.postgresql = {
      enable = true;
      ensureDatabases = [ cfg.database ];
      ensureUsers = [
        {
          name = cfg.database;
          ensureDBOwnership = true;
        }
      ];
    };
    systemd.services.hedgedoc = {
      requires = [ "postgresql.service" ];
      after = [ "postgresql.service" "homelab-secrets.service" ];
    };
    homelab.secrets.hedgedoc = {
      generate = true;
      template = "CMD_SESSION_SECRET={value}\n";
      units = [ "hedgedoc.service" ];
    };
    homelab.health.units = [ "hedgedoc.service" ];
  };
}
