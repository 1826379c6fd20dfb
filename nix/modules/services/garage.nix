# Garage: an S3 server for one host, with the buckets and the key of the lab.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) lab host secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.garage;
  marks = import ../../lib/pools.nix { inherit lib lab host; } cfg.data;
  garage = lib.getExe config.services.garage.package;
  credentials = lib.filterAttrs (_: reference: reference != null) { id = cfg.key; inherit (cfg) secret; };
in
{
  options.homelab.services.garage = {
    enable = o.enable "Garage";
    port = o.port 3900 "Port of S3.";
    data = o.text "/var/lib/garage/data" "Folder of its data.";
    region = o.text "garage" "Region that clients name.";
    buckets = o.list [ ] "Buckets that are there.";
    key = o.secret "Reference to the access key of the lab (GK and 24 hex digits).";
    secret = o.secret "Reference to its secret (64 hex digits).";
  };

  config = lib.mkIf cfg.enable {
    services.garage = {
      enable = true;
      package = lib.mkDefault (pkgs.garage_2 or pkgs.garage);
      environmentFile = secrets.garage.path;
      settings = {
        replication_factor = 1;
        db_engine = lib.mkDefault "sqlite";
        metadata_dir = lib.mkDefault "/var/lib/garage/meta";
        data_dir = cfg.data;
        rpc_bind_addr = "127.0.0.1:3901";
        rpc_public_addr = "127.0.0.1:3901";
        s3_api = {
          api_bind_addr = "0.0.0.0:${toString cfg.port}";
          s3_region = cfg.region;
        };
        # Metrics, open to whom the firewall lets in; everything else there asks for a token.
        admin.api_bind_addr = "0.0.0.0:3903";
      };
    };
    # A user of its own: the folder of its data may lie on a pool.
    users.users.garage = {
      isSystemUser = true;
      group = "garage";
    };
    users.groups.garage = { };
    systemd.services.garage = {
      after = [ "homelab-secrets.service" "zfs-mount.service" ];
      unitConfig.ConditionPathExists = lib.mkIf (marks != [ ]) marks;
      serviceConfig = {
        DynamicUser = lib.mkForce false;
        User = "garage";
        Group = "garage";
        ReadWritePaths = [ cfg.data ];
        ExecStartPre = [ "+${pkgs.coreutils}/bin/install -d -o garage -g garage -m 0700 ${cfg.data}" ];
      };
    };
    homelab.secrets = {
      garage = {
        generate = true;
        template = "GARAGE_RPC_SECRET={value}\n";
        units = [ "garage.service" ];
      };
    }
    // lib.optionalAttrs (credentials != { }) {
      garage-key = {
        sources = credentials;
        template = "{id}\n{secret}\n";
        units = [ "garage-setup.service" ];
      };
    };
    homelab.health.units = lib.optional (marks == [ ]) "garage.service";

    # Runs at each start, and changes what is missing.
    systemd.services.garage-setup = {
      description = "Layout, buckets and key of Garage";
      wantedBy = [ "multi-user.target" ];
      after = [ "garage.service" "homelab-secrets.service" ];
      requires = [ "garage.service" ];
      unitConfig.ConditionPathExists = lib.mkIf (marks != [ ]) marks;
      path = [ pkgs.gawk pkgs.gnugrep ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        Restart = "on-failure";
        RestartSec = 10;
        EnvironmentFile = secrets.garage.path;
        LoadCredential = lib.optional (credentials != { }) "key:${secrets.garage-key.path}";
      };
      script = ''
        node=$(${garage} node id -q | cut -d@ -f1)
        if ${garage} status | grep -q "NO ROLE ASSIGNED"; then
          ${garage} layout assign --zone home --capacity 1T "$node"
          ${garage} layout apply --version 1
        fi
      ''
      + lib.optionalString (credentials != { }) ''
        { read -r id; read -r secret; } <"$CREDENTIALS_DIRECTORY/key"
        ${garage} key info "$id" >/dev/null 2>&1 || ${garage} key import --yes -n homelab "$id" "$secret"
      ''
      + lib.concatMapStrings (bucket: ''
        ${garage} bucket info ${bucket} >/dev/null 2>&1 || ${garage} bucket create ${bucket}
        ${lib.optionalString (credentials != { }) ''${garage} bucket allow --read --write --owner ${bucket} --key "$id"''}
      '') cfg.buckets;
    };
  };
}
