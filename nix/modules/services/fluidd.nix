# Klipper's page.
{ config, lib, ... }:
let
  inherit (config.homelab) host;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.fluidd;
in
{
  options.homelab.services.fluidd = {
    enable = o.enable "Fluidd";
    hostname = o.maybe "Name; the host's own when not said.";
  };
  config = lib.mkIf cfg.enable {
    services.fluidd = {
      enable = true;
      hostName = if cfg.hostname == null then host.name else cfg.hostname;
      nginx.default = true;
    };
    # Prints are large files.
    services.nginx.clientMaxBodySize = lib.mkDefault "1024m";
    homelab.health.units = [ "nginx.service" ];
  };
}
