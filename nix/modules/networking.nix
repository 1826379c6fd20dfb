# Name, addresses, wireless and firewall of a host.
{ config, lib, ... }:
let
  inherit (lib) mkDefault;
  inherit (config.homelab) lab host secrets;
  net = lab.network;
  prefixOf = network: otherwise: if network == null then otherwise else lib.last (lib.splitString "/" network);
  networks = if host.wifi == null then { } else host.wifi.networks;
  countries = lib.unique (lib.filter (country: country != null) (lib.mapAttrsToList (_: wifi: wifi.country) networks));
  withPassword = lib.filterAttrs (_: wifi: wifi.password != null) networks;
  hasWireless = networks != { };
  isStatic = host.address != null && !host.dhcp;
  gateway6 = net.settings.gateway6 or null;

  # Further interfaces: a VLAN on the main one, a bridge, or another card.
  vlanOf = said: (net.settings.vlans or { }).${said.vlan or ""} or null;
  isVlan = said: (said.vlan or null) != null;
  isBridge = said: (said.bridge or [ ]) != [ ];
  vlans = lib.filterAttrs (_: isVlan) host.interfaces;
  bridges = lib.filterAttrs (_: isBridge) host.interfaces;
  maskOf =
    said:
    if isVlan said && vlanOf said != null then prefixOf (vlanOf said).cidr "24" else prefixOf net.lan "24";
  further = name: said: {
    name = "30-${name}";
    value = {
      matchConfig = if (said.mac or null) != null && !isVlan said && !isBridge said then { PermanentMACAddress = said.mac; } else { Name = name; };
      linkConfig.RequiredForOnline = "no";
      networkConfig = lib.mkIf ((said.address or "dhcp") == "dhcp") { DHCP = "yes"; };
      address =
        lib.optional ((said.address or "dhcp") != "dhcp") "${said.address}/${maskOf said}"
        ++ lib.optional (said ? address6) "${said.address6}/64";
    };
  };
  port = bridge: member: {
    name = "30-${bridge}-${member}";
    value = {
      matchConfig.Name = member;
      networkConfig.Bridge = bridge;
      linkConfig.RequiredForOnline = "no";
    };
  };
in
{
  networking = {
    hostName = host.name;
    domain = mkDefault net.domain;
    useNetworkd = true;
    useDHCP = false;

    nftables.enable = true;
    firewall = {
      enable = mkDefault true;
      allowPing = mkDefault true;
      checkReversePath = mkDefault "loose";
      extraInputRules = lib.concatStringsSep "\n" (import ../lib/firewall.nix { inherit lib host; });
    };

    # Passwords are not in the store: `psk_home` is a line of the secrets file at the host.
    wireless = lib.mkIf hasWireless {
      enable = true;
      secretsFile = secrets.wireless.path;
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
  homelab.secrets = lib.mkIf hasWireless {
    wireless = {
      group = "wpa_supplicant";
      mode = "0640";
      units = [ "wpa_supplicant.service" ];
      sources = lib.mapAttrs (_: wifi: wifi.password) withPassword;
      template = lib.concatStrings (lib.mapAttrsToList (name: _: "psk_${name}={${name}}\n") withPassword);
    };
  };
  users.groups.wpa_supplicant = lib.mkIf hasWireless { };
  systemd.tmpfiles.rules = lib.mkIf hasWireless [ "f ${secrets.wireless.path} 0640 root wpa_supplicant -" ];

  systemd.network = {
    # With a cable or without: what waits for the network goes on with the first that has an address.
    wait-online.anyInterface = true;
    netdevs = lib.mapAttrs' (name: said: {
      name = "20-${name}";
      value = {
        netdevConfig = {
          Name = name;
          Kind = "vlan";
        };
        vlanConfig.Id = (vlanOf said).id;
      };
    }) vlans
    // lib.mapAttrs' (name: _: {
      name = "20-${name}";
      value.netdevConfig = {
        Name = name;
        Kind = "bridge";
      };
    }) bridges;
    networks = {
      "10-wired" = {
        matchConfig = if host.mac == null then { Type = "ether"; Kind = "!*"; } else { PermanentMACAddress = host.mac; };
        linkConfig.RequiredForOnline = "routable";
        networkConfig = if isStatic then { IPv6AcceptRA = mkDefault (gateway6 == null); } else { DHCP = "yes"; };
        address = lib.mkIf isStatic (
          [ "${host.address}/${prefixOf net.lan "24"}" ]
          ++ lib.optional (host.address6 != null) "${host.address6}/${prefixOf net.lan6 "64"}"
        );
        gateway = lib.mkIf isStatic (lib.optional (net.gateway != null) net.gateway ++ lib.optional (gateway6 != null) gateway6);
        dns = lib.mkIf isStatic net.dns_servers;
        vlan = lib.attrNames vlans;
      };
      "20-wireless" = lib.mkIf hasWireless {
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
    }
    // lib.mapAttrs' further host.interfaces
    // lib.listToAttrs (lib.concatLists (lib.mapAttrsToList (name: said: map (port name) said.bridge) bridges));
  };
}
