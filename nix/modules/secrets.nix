# Secrets of this host: which files its services read, who may read them, and which units start anew with a new one.
# They are delivered over SSH before a switch, never through the store. Who uses sops-nix or agenix sets `path` to
# theirs (`homelab.secrets.grafana.path = config.sops.secrets.grafana.path;`); such a secret is not delivered.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  folder = "/var/lib/homelab/secrets";
  ours = lib.filterAttrs (name: secret: secret.path == "${folder}/${name}") config.homelab.secrets;
  secretType =
    { name, ... }:
    {
      options = {
        path = mkOption {
          type = types.str;
          default = "${folder}/${name}";
          description = "The file that services read.";
        };
        owner = mkOption {
          type = types.str;
          default = "root";
          description = "User that the file belongs to.";
        };
        group = mkOption {
          type = types.str;
          default = "root";
          description = "Group of the file.";
        };
        mode = mkOption {
          type = types.strMatching "0[0-7]{3}";
          default = "0400";
          description = "Permissions of the file.";
        };
        units = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Units that are restarted when the secret changes.";
        };
        sources = mkOption {
          type = types.attrsOf types.str;
          default = { };
          description = "References (sops:…, env:…, file:…) of the values in it, by their names in `template`.";
        };
        template = mkOption {
          type = types.str;
          default = "{value}";
          description = "What the file says, with the names of `sources` in braces.";
        };
        generate = mkOption {
          type = types.bool;
          default = false;
          description = "Whether the host makes a random `value` (64 hex digits) if the file is missing.";
        };
      };
    };
  # The two halves of a template around the value that is made here.
  parts = secret: lib.splitString "{value}" secret.template;
  keep =
    name: secret:
    let
      path = lib.escapeShellArg secret.path;
    in
    lib.optionalString secret.generate ''
      if ! [ -s ${path} ]; then
        value=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
        printf '%s%s%s' ${lib.escapeShellArg (lib.head (parts secret))} "$value" ${lib.escapeShellArg (lib.last (parts secret))} >${path}.new
        mv ${path}.new ${path}
      fi
    ''
    + ''
      if [ -e ${path} ]; then
        chown ${secret.owner}:${secret.group} ${path}
        chmod ${secret.mode} ${path}
      fi
    '';
  units = lib.unique (lib.concatMap (secret: secret.units) (lib.attrValues ours));
in
{
  options.homelab.secrets = mkOption {
    type = types.attrsOf (types.submodule secretType);
    default = { };
    description = "Files with secrets, by name.";
  };

  config = lib.mkIf (ours != { }) {
    systemd.tmpfiles.rules = [ "d ${folder} 0711 root root -" ];
    # Owners exist only once their services are configured, so a file that was delivered gets its owner here.
    systemd.services.homelab-secrets = {
      description = "Owners and random values of the lab's secrets";
      wantedBy = [ "multi-user.target" ];
      before = units;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        UMask = "0077";
      };
      script = lib.concatStrings (lib.mapAttrsToList keep ours);
    };
    # What is to be delivered, readable from the running system. References stay out of the store.
    environment.etc."homelab/secrets.json".text = builtins.toJSON (
      lib.mapAttrs (_: secret: { inherit (secret) path owner group mode units generate; }) ours
    );
  };
}
