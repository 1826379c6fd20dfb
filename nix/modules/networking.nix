# Name, addresses, wireless and firewall of a host.
{ lib, lab, host, ... }:
let
  net = lab.network;
  prefix = if net.lan == null then "24" else lib.last (lib.splitString "/" net.lan);
  networks = (host.wifi or null).networks or { };
  country = lib.unique (lib.filter (c: c != null) (map (n: n.country or null) (lib.attrValues networks)));
  static = host.address != null && !host.dhcp;
in
{
  networking = {
    hostName = host.name;
    inherit (net) domain;
    useNetworkd = true;
    useDHCP = false;
    timeServers = lib.mkIf ((host.system.ntp or [ ]) != [ ]) host.system.ntp;

    nftables.enable = true;
    firewall = {
      enable = true;
      allowPing = true;
      checkReversePath = "loose";
      extraInputRules = lib.concatStringsSep "\n" (import ../lib/firewall.nix { inherit lib host; });
    };

    # Passwords are not in the store: `psk_home` is a line of the secrets file at the host.
    wireless = lib.mkIf (networks != { }) {
      enable = true;
      secretsFile = "/var/lib/homelab/secrets/wireless.conf";
      extraConfig = lib.concatMapStrings (c: "country=${c}\n") country;
      networks = lib.listToAttrs (
        lib.mapAttrsToList (name: wifi: {
          name = wifi.ssid;
          value = {
            pskRaw = "ext:psk_${name}";
            hidden = wifi.hidden or false;
            priority = wifi.priority or 0;
          };
        }) networks
      );
    };
  };

  systemd.network.networks."10-wired" = {
    matchConfig = if host.mac == null then { Type = "ether"; Kind = "!*"; } else { PermanentMACAddress = host.mac; };
    linkConfig.RequiredForOnline = if networks == { } then "routable" else "no";
  }
  // (
    if static then
      {
        address = [ "${host.address}/${prefix}" ] ++ lib.optional (host.address6 != null) "${host.address6}/64";
        gateway = lib.optional (net.gateway != null) net.gateway;
        dns = net.dns_servers;
      }
    else
      { networkConfig.DHCP = "yes"; }
  );
  systemd.network.networks."20-wireless" = lib.mkIf (networks != { }) {
    matchConfig.Type = "wlan";
    networkConfig = {
      DHCP = "yes";
      IgnoreCarrierLoss = "3s";
    };
  };
}
