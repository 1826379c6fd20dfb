# iSCSI initiator, which Longhorn needs; its helpers look for programs where other systems have them.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) lab host;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.open-iscsi;
in
{
  options.homelab.services.open-iscsi.enable = o.enable "the iSCSI initiator";
  config = lib.mkIf cfg.enable {
    services.openiscsi = {
      enable = true;
      name = lib.mkDefault "iqn.2016-04.com.open-iscsi:${host.name}.${lab.network.domain}";
    };
    environment.systemPackages = [ pkgs.nfs-utils ];
    systemd.tmpfiles.rules = lib.mkIf (host.k3s != null) [ "L+ /usr/local/bin - - - - /run/current-system/sw/bin/" ];
  };
}
