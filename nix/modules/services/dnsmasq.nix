# DNS for the LAN, with the lab's own names, and DHCP if the lab says that this host gives out addresses.
{ config, lib, ... }:
let
  inherit (config.homelab) lab host;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.dnsmasq;
  net = lab.network;
  records = (net.dns_records or { }) // { };
  isWild = lib.hasPrefix "*.";
  wild = lib.filterAttrs (name: _: isWild name) records;
  plain = lib.filterAttrs (name: _: !isWild name) records;
  six = net.settings.dns_records6 or { };
  # 192.168.1.100-199 and 192.168.1.100-192.168.1.199 are the same.
  bounds = lib.splitString "-" net.dhcp;
  first = lib.head bounds;
  end = lib.last bounds;
  last = if lib.hasInfix "." end then end else lib.concatStringsSep "." (lib.take 3 (lib.splitString "." first) ++ [ end ]);
  gives = cfg.dhcp && net.dhcp != null && (net.settings.dhcp_server or null) == host.name;
  reserved = lib.filterAttrs (_: other: other.mac != null && other.address != null) lab.hosts;
in
{
  options.homelab.services.dnsmasq = {
    enable = o.enable "dnsmasq";
    port = o.port 53 "Port of DNS.";
    dhcp = o.flag true "Whether it gives out addresses, if the lab's DHCP server is this host.";
    upstream = o.list [ ] "Resolvers that it asks.";
  };

  config = lib.mkIf cfg.enable {
    services.dnsmasq = {
      enable = true;
      # systemd-resolved answers on this host, and asks it like everybody else.
      resolveLocalQueries = lib.mkDefault false;
      settings = {
        inherit (cfg) port;
        # Takes addresses that come later, and leaves 127.0.0.53 to systemd-resolved.
        bind-dynamic = true;
        domain-needed = true;
        bogus-priv = true;
        no-resolv = true;
        server = if cfg.upstream != [ ] then cfg.upstream else net.dns.upstream or [ ];
        domain = net.domain;
        host-record = lib.mapAttrsToList (name: address: "${name},${address}") plain ++ lib.mapAttrsToList (name: address: "${name},${address}") six;
        address = lib.mapAttrsToList (name: address: "/${lib.removePrefix "*." name}/${address}") wild;
        dhcp-range = lib.mkIf gives [ "${first},${last},12h" ];
        dhcp-option = lib.mkIf gives (
          lib.optional (net.gateway != null) "option:router,${net.gateway}"
          ++ lib.optional (host.address != null) "option:dns-server,${host.address}"
        );
        dhcp-host = lib.mkIf gives (lib.mapAttrsToList (name: other: "${other.mac},${other.address},${name}") reserved);
      };
    };
    homelab.health.units = [ "dnsmasq.service" ];
  };
}
