# The lab's WireGuard star: the hub knows every host and device, a spoke knows the hub and reaches the others through it.
{ config, lib, ... }:
let
  inherit (config.homelab) lab host secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.wireguard;
  star = lab.network.vpn.wireguard;
  isHub = star.hub == host.name;
  prefix = lib.last (lib.splitString "/" star.cidr);
  port = toString star.port;
  hubKey = star.hub_public_key or null;
  # A peer whose public key is not known yet cannot come in; the others can.
  known = lib.filterAttrs (_: peer: (peer.public_key or null) != null) star.peers;
  spokes = lib.mapAttrsToList (name: peer: {
    inherit name;
    publicKey = peer.public_key;
    allowedIPs = peer.allowed_ips;
  }) known;
  endpoint = if star.endpoint != null then star.endpoint else "${star.hub}.${lab.network.domain}";
  hub = lib.optional (hubKey != null) {
    name = star.hub;
    publicKey = hubKey;
    endpoint = if lib.hasInfix ":" endpoint then endpoint else "${endpoint}:${port}";
    allowedIPs = star.spoke_allowed_ips;
    persistentKeepalive = star.keepalive;
  };
in
{
  options.homelab.services.wireguard.enable = o.enable "the lab's WireGuard tunnel";

  config = lib.mkIf cfg.enable {
    networking.wireguard.interfaces.wg0 = {
      ips = [ "${host.vpn_address}/${prefix}" ];
      listenPort = lib.mkIf isHub star.port;
      privateKeyFile = secrets.wireguard.path;
      peers = if isHub then spokes else hub;
      # The hub's name may come to mean another address.
      dynamicEndpointRefreshSeconds = lib.mkIf (!isHub) 300;
    };
    # networkd reads the key when it starts, and hands it to the kernel as a credential. Where it comes from says the lab.
    homelab.secrets.wireguard.units = [ "systemd-networkd.service" ];
    # What comes from one spoke for another.
    boot.kernel.sysctl = lib.mkIf isHub { "net.ipv4.ip_forward" = lib.mkOverride 97 1; };
  };
}
