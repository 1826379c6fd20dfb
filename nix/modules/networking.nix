# Name, addresses, wireless and firewall of a host.
{ lib, lab, host, ... }:
let
  net = lab.network;
  prefix = if net.lan == null then "24" else lib.last (lib.splitString "/" net.lan);
  networks = if host.wifi == null then { } else host.wifi.networks;
  countries = lib.unique (lib.filter (country: country != null) (lib.mapAttrsToList (_: wifi: wifi.country) networks));
  hasWireless = networks != { };
  isStatic = host.address != null && !host.dhcp;
  secrets = "/var/lib/homelab/secrets";
in
{
  networking = {
    hostName = host.name;
    inherit (net) domain;
    useNetworkd = true;
    useDHCP = false;

    nftables.enable = true;
    firewall = {
      enable = true;
      allowPing = true;
      checkReversePath = "loose";
      extraInputRules = lib.concatStringsSep "\n" (import ../lib/firewall.nix { inherit lib host; });
    };

    # Passwords are not in the store: `psk_home` is a line of the secrets file at the host.
    wireless = lib.mkIf hasWireless {
      enable = true;
      secretsFile = "${secrets}/wireless.conf";
      extraConfig = lib.concatMapStrings (country: "country=${country}\n") countries;
      networks = lib.mapAttrs' (name: wifi: {
        name = wifi.ssid;
        value = {
          pskRaw = lib.mkIf (wifi.password != null) "ext:psk_${name}";
          inherit (wifi) hidden priority;
        };
      }) networks;
    };
  };

  # wpa_supplicant runs as a user of its own, and starts only if the file is there: until it is filled it is empty.
  users.groups.wpa_supplicant = lib.mkIf hasWireless { };
  systemd.tmpfiles.rules = lib.mkIf hasWireless [
    "d ${secrets} 0711 root root -"
    "f ${secrets}/wireless.conf 0640 root wpa_supplicant -"
  ];

  systemd.network = {
    # With a cable or without: what waits for the network goes on with the first that has an address.
    wait-online.anyInterface = hasWireless;
    networks."10-wired" = {
      matchConfig = if host.mac == null then { Type = "ether"; Kind = "!*"; } else { PermanentMACAddress = host.mac; };
      linkConfig.RequiredForOnline = "routable";
      networkConfig = lib.mkIf (!isStatic) { DHCP = "yes"; };
      address = lib.mkIf isStatic (
        [ "${host.address}/${prefix}" ] ++ lib.optional (host.address6 != null) "${host.address6}/64"
      );
      gateway = lib.mkIf (isStatic && net.gateway != null) [ net.gateway ];
      dns = lib.mkIf isStatic net.dns_servers;
    };
    networks."20-wireless" = lib.mkIf hasWireless {
      matchConfig.WLANInterfaceType = "station";
      linkConfig.RequiredForOnline = "routable";
      networkConfig = {
        DHCP = "yes";
        IgnoreCarrierLoss = "3s";
      };
      # One more than what a cable gets: where there are both, the cable is taken.
      dhcpV4Config.RouteMetric = 1025;
      ipv6AcceptRAConfig.RouteMetric = 1025;
    };
  };
}
