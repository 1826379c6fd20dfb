# Home Assistant, with the components that the lab names; what is made in its page stays beside them.
{ config, lib, ... }:
let
  inherit (config.homelab) lab;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.home-assistant;
in
{
  options.homelab.services.home-assistant = {
    enable = o.enable "Home Assistant";
    port = o.port 8123 "Port of its page.";
    data = o.text "/var/lib/hass" "Folder of its configuration.";
    components = o.list [ ] "Integrations beyond the usual ones.";
  };
  config = lib.mkIf cfg.enable {
    services.home-assistant = {
      enable = true;
      configDir = lib.mkDefault cfg.data;
      extraComponents = [ "default_config" "met" "mqtt" ] ++ cfg.components;
      config = {
        default_config = { };
        homeassistant.time_zone = lib.mkDefault lab.timezone;
        http.server_port = cfg.port;
      };
    };
    homelab.health.units = [ "home-assistant.service" ];
  };
}
