# Streams this host's screen to Moonlight.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.sunshine;
in
{
  options.homelab.services.sunshine = {
    enable = o.enable "Sunshine";
    port = o.port 47989 "First of its ports.";
  };
  config = lib.mkIf cfg.enable {
    services.sunshine = {
      enable = true;
      capSysAdmin = lib.mkDefault true;
      openFirewall = lib.mkDefault false;
      settings.port = cfg.port;
    };
  };
}
