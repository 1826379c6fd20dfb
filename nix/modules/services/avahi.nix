# Names in .local.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.avahi;
in
{
  options.homelab.services.avahi.enable = o.enable "Avahi";
  config = lib.mkIf cfg.enable {
    services.avahi = {
      enable = true;
      nssmdns4 = lib.mkDefault true;
      openFirewall = lib.mkDefault false;
    };
    homelab.health.units = [ "avahi-daemon.service" ];
  };
}
