# What a lab says, as options of one host. `lab` is lab.json; everything that follows from it can be said otherwise, by
# hosts.<host>.nix.options of the lab or by modules of one's own.
{ config, lib, ... }:
let
  inherit (lib) mkDefault mkOption types;
  cfg = config.homelab;
in
{
  options.homelab = {
    lab = mkOption {
      type = types.raw;
      description = "The resolved lab: the content of lab.json.";
    };
    name = mkOption {
      type = types.str;
      description = "Which of the lab's hosts this system is.";
    };
    host = mkOption {
      type = types.raw;
      readOnly = true;
      description = "The lab's facts of this host.";
    };
    profiles = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Ready-made sets of packages and settings.";
    };
    unfree = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Unfree packages that are allowed: names as people say them (cuda, steam, parsec) or nixpkgs' own.";
    };
    health = {
      units = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Units that must run for the host to be healthy.";
      };
      listen = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Addresses with port that must answer.";
      };
    };
  };

  config.homelab = {
    host = cfg.lab.hosts.${cfg.name};
    profiles = cfg.host.settings.profiles or [ ];
    unfree = cfg.host.settings.nix.unfree or [ ];
    # Every service of the lab is switched on with the settings that it has there.
    services = lib.mapAttrs (_: settings: lib.mapAttrs (_: mkDefault) settings // { enable = mkDefault true; }) cfg.host.services;
    # Files that the lab names itself, or that follow from it (WireGuard, k3s).
    secrets = lib.mapAttrs (_: secret: {
      path = mkDefault secret.path;
      owner = mkDefault secret.owner;
      group = mkDefault secret.group;
      mode = mkDefault secret.mode;
      units = secret.units;
      sources.value = secret.reference;
    }) (cfg.host.secrets or { });
    exporters = lib.mapAttrs (_: exporter: { port = mkDefault exporter.port; }) cfg.host.exporters;
  };
}
