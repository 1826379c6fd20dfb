# A registry for container images.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.docker-registry;
in
{
  options.homelab.services.docker-registry = {
    enable = o.enable "a container registry";
    port = o.port 5000 "Port of its API.";
    data = o.text "/var/lib/docker-registry" "Folder of its data.";
  };
  config = lib.mkIf cfg.enable {
    services.dockerRegistry = {
      enable = true;
      inherit (cfg) port;
      storagePath = cfg.data;
      listenAddress = lib.mkDefault "0.0.0.0";
      enableDelete = lib.mkDefault true;
      enableGarbageCollect = lib.mkDefault true;
    };
    homelab.health.units = [ "docker-registry.service" ];
  };
}
