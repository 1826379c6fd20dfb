# nginx in front of services of this and other hosts, with the certificate of ACME where there is one.
{ config, lib, ... }:
let
  inherit (config.homelab) lab;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.reverse-proxy;
  inherit (config.homelab.services.acme) certificate;
  full = name: if lib.hasInfix "." name then name else "${name}.${lab.network.domain}";
  target = address: if lib.hasInfix "://" address then address else "http://${address}";
in
{
  options.homelab.services.reverse-proxy = {
    enable = o.enable "nginx";
    sites = o.mapping "Names to the addresses behind them.";
  };

  config = lib.mkIf cfg.enable {
    services.nginx = {
      enable = true;
      recommendedProxySettings = lib.mkDefault true;
      recommendedTlsSettings = lib.mkDefault true;
      recommendedOptimisation = lib.mkDefault true;
      statusPage = lib.mkDefault true;
      virtualHosts = lib.mapAttrs' (name: address: {
        name = full name;
        value = {
          forceSSL = certificate != null;
          useACMEHost = certificate;
          locations."/" = {
            proxyPass = target address;
            proxyWebsockets = true;
          };
        };
      }) cfg.sites;
    };
    users.users.nginx.extraGroups = lib.optional (certificate != null) "acme";
    homelab.health.units = [ "nginx.service" ];
  };
}
