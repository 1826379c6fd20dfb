# Docker. What it publishes passes by the lab's firewall rules: it writes its own.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.docker;
in
{
  options.homelab.services.docker = {
    enable = o.enable "Docker";
    data = o.text "/var/lib/docker" "Folder of its data.";
    prune = o.flag true "Whether what is not used is deleted each week.";
  };
  config = lib.mkIf cfg.enable {
    virtualisation.docker = {
      enable = true;
      autoPrune.enable = lib.mkDefault cfg.prune;
      daemon.settings = lib.mkIf (cfg.data != "/var/lib/docker") { data-root = cfg.data; };
    };
    homelab.health.units = [ "docker.service" ];
  };
}
