# Nextcloud, its database on this host, its files in a bucket or on a disk.
{ config, lib, options, ... }:
let
  inherit (config.homelab) lab secrets services;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = services.nextcloud;
  inherit (services.acme) certificate;
  inS3 = cfg.storage == "s3";
  # garage.fleet.example.com:3900 with or without http(s):// before it; Garage of this host when not said.
  endpoint = if cfg.endpoint != null then cfg.endpoint else "http://127.0.0.1:${toString services.garage.port}";
  bare = lib.removePrefix "http://" (lib.removePrefix "https://" endpoint);
  parts = lib.splitString ":" bare;
  hostName = if lib.hasInfix "." cfg.hostname then cfg.hostname else "${cfg.hostname}.${lab.network.domain}";
  verify = if options.services.nextcloud.config.objectstore.s3 ? verify_bucket_exists then "verify_bucket_exists" else "autocreate";
in
{
  options.homelab.services.nextcloud = {
    enable = o.enable "Nextcloud";
    data = o.text "/var/lib/nextcloud" "Folder of its data.";
    storage = o.text "local" "local or s3.";
    bucket = o.text "nextcloud" "Bucket of S3 primary storage.";
    endpoint = o.maybe "Address of the S3 server; Garage of this host when not said.";
    key = o.secret "Reference to the access key.";
    secret = o.secret "Reference to the secret key.";
    hostname = o.text "nextcloud" "Name in the lab's domain.";
    admin_password = o.secret "Reference to the first admin's password.";
  };
  config = lib.mkIf cfg.enable {
    services.nextcloud = {
      enable = true;
      inherit hostName;
      https = certificate != null;
      datadir = lib.mkDefault cfg.data;
      database.createLocally = lib.mkDefault true;
      configureRedis = lib.mkDefault true;
      secretFile = lib.mkIf inS3 secrets.nextcloud-s3-key.path;
      maxUploadSize = lib.mkDefault "16G";
      config = {
        dbtype = lib.mkDefault "pgsql";
        adminuser = lib.mkDefault "admin";
        adminpassFile = secrets.nextcloud-admin.path;
        objectstore.s3 = lib.mkIf inS3 {
          enable = true;
          inherit (cfg) bucket;
          key = "set by the secret nextcloud-s3-key"; # what is said here lies readable in the store
          secretFile = secrets.nextcloud-s3.path;
          hostname = lib.head parts;
          port = if lib.length parts > 1 then lib.toInt (lib.last parts) else if lib.hasPrefix "http://" endpoint then 80 else 443;
          useSsl = !(lib.hasPrefix "http://" endpoint);
          region = lib.mkDefault services.garage.region;
          usePathStyle = true;
          ${verify} = true;
        };
      };
    };
    services.nginx.virtualHosts.${hostName} = lib.mkIf (certificate != null) {
      forceSSL = true;
      useACMEHost = certificate;
    };
    users.users.nginx.extraGroups = lib.optional (certificate != null) "acme";
    homelab.secrets = {
      nextcloud-admin = {
        owner = "nextcloud";
        sources = lib.optionalAttrs (cfg.admin_password != null) { value = cfg.admin_password; };
      };
    }
    // lib.optionalAttrs inS3 {
      nextcloud-s3 = {
        owner = "nextcloud";
        sources = lib.optionalAttrs (cfg.secret != null) { value = cfg.secret; };
      };
      nextcloud-s3-key = {
        owner = "nextcloud";
        sources = lib.optionalAttrs (cfg.key != null) { value = cfg.key; };
        template = ''{"objectstore": {"arguments": {"key": "{value}"}}}'';
      };
    }
    // lib.optionalAttrs (config.homelab.exporters ? nextcloud) {
      nextcloud-exporter = {
        generate = true;
        owner = "nextcloud-exporter";
        units = [ "prometheus-nextcloud-exporter.service" ];
      };
    };
    # The exporter's token, told to Nextcloud once more at each start.
    systemd.services.nextcloud-exporter-token = lib.mkIf (config.homelab.exporters ? nextcloud) {
      description = "Nextcloud's token for its exporter";
      wantedBy = [ "multi-user.target" ];
      after = [ "nextcloud-setup.service" "homelab-secrets.service" ];
      path = [ config.services.nextcloud.occ ];
      serviceConfig = {
        Type = "oneshot";
        LoadCredential = "token:${secrets.nextcloud-exporter.path}";
      };
      script = ''nextcloud-occ config:app:set serverinfo token --value "$(cat "$CREDENTIALS_DIRECTORY/token")"'';
    };
    services.prometheus.exporters.nextcloud.url = lib.mkIf (config.homelab.exporters ? nextcloud) (
      "${if certificate != null then "https" else "http"}://${hostName}"
    );
  };
}
