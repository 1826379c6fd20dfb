# NFS exports, by version 4 alone: one port.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.nfs-server;
  # `192.168.1.0/24` may write; `192.168.1.0/24(ro)` is taken as it stands.
  client = who: if lib.hasInfix "(" who then who else "${who}(rw,sync,no_subtree_check)";
  clients = who: lib.concatMapStringsSep " " client (if lib.isList who then who else [ who ]);
in
{
  options.homelab.services.nfs-server = {
    enable = o.enable "an NFS server";
    exports = o.settings "Folders to who may mount them: a network, a host, or a list of these.";
  };
  config = lib.mkIf cfg.enable {
    services.nfs.server = {
      enable = true;
      exports = lib.concatStrings (lib.mapAttrsToList (folder: who: "${folder} ${clients who}\n") cfg.exports);
    };
    services.nfs.settings.nfsd.vers3 = lib.mkDefault false;
    systemd.services.nfs-server.unitConfig.RequiresMountsFor = lib.attrNames cfg.exports;
    homelab.health.units = [ "nfs-server.service" ];
  };
}
