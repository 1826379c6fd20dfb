# A resolver that asks the root servers itself, or the ones that the lab names.
{ config, lib, ... }:
let
  inherit (config.homelab) lab host;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.unbound;
  networks = lib.filter (network: network != null) [ lab.network.lan lab.network.lan6 ] ++ host.sources.vpn or [ ];
in
{
  options.homelab.services.unbound = {
    enable = o.enable "Unbound";
    port = o.port 53 "Port it listens on.";
    forward = o.list [ ] "Resolvers that it asks instead of the root servers.";
  };

  config = lib.mkIf cfg.enable {
    services.unbound = {
      enable = true;
      resolveLocalQueries = lib.mkDefault false;
      localControlSocketPath = lib.mkDefault "/run/unbound/unbound.ctl";
      settings = {
        server = {
          inherit (cfg) port;
          # Not every address: 127.0.0.53 is systemd-resolved's. One that comes later counts as well.
          interface = [ "127.0.0.1" ] ++ lib.optional (host.address != null) host.address ++ lib.optional (host.address6 != null) host.address6;
          ip-freebind = true;
          access-control = map (network: "${network} allow") ([ "127.0.0.0/8" ] ++ networks);
        };
        forward-zone = lib.optional (cfg.forward != [ ]) {
          name = ".";
          forward-addr = cfg.forward;
        };
      };
    };
    homelab.health.units = [ "unbound.service" ];
  };
}
