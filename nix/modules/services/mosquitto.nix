# MQTT broker. Without users everybody whom the firewall lets in may read and write.
{ config, lib, ... }:
let
  inherit (config.homelab) secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.mosquitto;
  reference = said: if lib.isString said then said else said.password;
  rights = said: if lib.isString said then [ "readwrite #" ] else said.acl or [ "readwrite #" ];
in
{
  options.homelab.services.mosquitto = {
    enable = o.enable "Mosquitto";
    port = o.port 1883 "Port of MQTT.";
    data = o.text "/var/lib/mosquitto" "Folder of what it keeps.";
    users = o.settings "Names to references of passwords, or to {password: …, acl: [readwrite sensors/#]}.";
  };
  config = lib.mkIf cfg.enable {
    services.mosquitto = {
      enable = true;
      dataDir = lib.mkDefault cfg.data;
      listeners = [
        {
          inherit (cfg) port;
          settings.allow_anonymous = cfg.users == { };
          omitPasswordAuth = cfg.users == { };
          acl = lib.optional (cfg.users == { }) "topic readwrite #";
          users = lib.mapAttrs (name: said: {
            passwordFile = secrets."mosquitto-${name}".path;
            acl = rights said;
          }) cfg.users;
        }
      ];
    };
    homelab.secrets = lib.mapAttrs' (name: said: {
      name = "mosquitto-${name}";
      value = {
        owner = "mosquitto";
        sources.value = reference said;
        units = [ "mosquitto.service" ];
      };
    }) cfg.users;
    homelab.health.units = [ "mosquitto.service" ];
  };
}
