# Tailscale: this host in the lab's tailnet, by a key of the lab. The firewall's rules hold in the tunnel as well.
{ config, lib, ... }:
let
  inherit (config.homelab) lab host secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.tailscale;
  mesh = lab.network.vpn.tailscale;
  isRouter = (mesh.router or null) == host.name;
  isExit = (mesh.exit_node or null) == host.name;
in
{
  options.homelab.services.tailscale = {
    enable = o.enable "Tailscale";
    port = o.port 41641 "Port for direct connections.";
  };

  config = lib.mkIf cfg.enable {
    services.tailscale = {
      enable = true;
      inherit (cfg) port;
      openFirewall = lib.mkDefault true;
      authKeyFile = lib.mkIf ((mesh.auth_key or null) != null) secrets.tailscale.path;
      useRoutingFeatures = lib.mkDefault (if isRouter || isExit then "both" else "client");
      extraUpFlags = lib.optional ((mesh.login_server or null) != null) "--login-server=${mesh.login_server}";
      # `up` runs at the first login only; these are said at every start.
      extraSetFlags =
        lib.optional (isRouter && mesh.routes != [ ]) "--advertise-routes=${lib.concatStringsSep "," mesh.routes}"
        ++ lib.optional isExit "--advertise-exit-node"
        ++ lib.optional (mesh.ssh or false) "--ssh";
    };
    homelab.secrets = lib.mkIf ((mesh.auth_key or null) != null) {
      tailscale = {
        sources.value = mesh.auth_key;
        units = [ "tailscaled-autoconnect.service" ];
      };
    };
    homelab.health.units = [ "tailscaled.service" ];
  };
}
