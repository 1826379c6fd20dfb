# PostgreSQL with databases that each belong to a user of the same name.
{ config, lib, pkgs, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.postgresql;
in
{
  options.homelab.services.postgresql = {
    enable = o.enable "PostgreSQL";
    port = o.port 5432 "Port it listens on.";
    data = o.maybe "Folder of its data.";
    databases = o.list [ ] "Databases that are there.";
    version = o.maybe "Major version; that of the release that the host was installed with when not said.";
  };
  config = lib.mkIf cfg.enable {
    services.postgresql = {
      enable = true;
      settings.port = cfg.port;
      package = lib.mkIf (cfg.version != null) pkgs."postgresql_${toString cfg.version}";
      dataDir = lib.mkIf (cfg.data != null) cfg.data;
      ensureDatabases = cfg.databases;
      ensureUsers = map (name: {
        inherit name;
        ensureDBOwnership = true;
      }) cfg.databases;
    };
    homelab.health.units = [ "postgresql.service" ];
  };
}
