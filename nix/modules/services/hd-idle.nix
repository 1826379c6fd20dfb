# Disks that nobody uses stand still.
{ config, lib, pkgs, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.hd-idle;
in
{
  options.homelab.services.hd-idle = {
    enable = o.enable "hd-idle";
    after = o.number 600 "Seconds without use after which a disk stops.";
  };
  config = lib.mkIf cfg.enable {
    systemd.services.hd-idle = {
      description = "Stop idle disks";
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        ExecStart = "${pkgs.hd-idle}/bin/hd-idle -i ${toString cfg.after}";
        Restart = "always";
      };
    };
    homelab.health.units = [ "hd-idle.service" ];
  };
}
