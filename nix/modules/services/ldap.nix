# An LDAP directory, with LDAPS where ACME brings a certificate.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) lab secrets services;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = services.ldap;
  inherit (services.acme) certificate;
  hasTls = cfg.tls && certificate != null;
  ofDomain = lib.concatMapStringsSep "," (label: "dc=${label}") (lib.splitString "." lab.network.domain);
  base = if cfg.base != null then cfg.base else ofDomain;
  schema = name: "${pkgs.openldap}/etc/schema/${name}.ldif";
in
{
  options.homelab.services.ldap = {
    enable = o.enable "OpenLDAP";
    data = o.text "/var/lib/openldap/data" "Folder of its data.";
    base = o.maybe "Base of the directory; the lab's domain when not said.";
    tls = o.flag true "Whether LDAPS is spoken; it needs the service acme on this host.";
    password = o.secret "Reference to the admin's password.";
  };
  config = lib.mkIf cfg.enable {
    services.openldap = {
      enable = true;
      urlList = [ "ldapi:///" ] ++ lib.optional hasTls "ldaps:///" ++ lib.optional (!cfg.tls) "ldap:///";
      settings = {
        attrs = {
          olcLogLevel = "stats";
        }
        // lib.optionalAttrs hasTls {
          olcTLSCertificateFile = "/var/lib/acme/${certificate}/fullchain.pem";
          olcTLSCertificateKeyFile = "/var/lib/acme/${certificate}/key.pem";
        };
        children = {
          "cn=schema".includes = map schema [ "core" "cosine" "inetorgperson" "nis" ];
          "olcDatabase={1}mdb".attrs = {
            objectClass = [ "olcDatabaseConfig" "olcMdbConfig" ];
            olcDatabase = "{1}mdb";
            olcDbDirectory = cfg.data;
            olcSuffix = base;
            olcRootDN = "cn=admin,${base}";
            olcRootPW.path = secrets.ldap.path;
            olcAccess = [
              ''{0}to attrs=userPassword by self write by anonymous auth by * none''
              ''{1}to * by users read by * none''
            ];
          };
        };
      };
    };
    users.users.openldap.extraGroups = lib.optional hasTls "acme";
    security.acme.certs = lib.optionalAttrs hasTls { ${certificate}.reloadServices = [ "openldap.service" ]; };
    systemd.services.openldap = lib.mkIf hasTls {
      wants = [ "acme-${certificate}.service" ];
      after = [ "acme-${certificate}.service" "homelab-secrets.service" ];
    };
    homelab.secrets.ldap = {
      owner = "openldap";
      sources = lib.optionalAttrs (cfg.password != null) { value = cfg.password; };
      units = [ "openldap.service" ];
    };
    homelab.health.units = [ "openldap.service" ];
  };
}
