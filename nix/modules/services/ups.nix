# A UPS at this host: when its battery runs low, the host is shut down.
{ config, lib, ... }:
let
  inherit (config.homelab) secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.ups;
in
{
  options.homelab.services.ups = {
    enable = o.enable "NUT";
    port = o.port 3493 "Port of upsd.";
    driver = o.text "usbhid-ups" "Driver of NUT.";
    device = o.text "auto" "Device of the UPS.";
  };
  config = lib.mkIf cfg.enable {
    power.ups = {
      enable = true;
      mode = lib.mkDefault "netserver";
      ups.main = {
        inherit (cfg) driver;
        port = cfg.device;
      };
      upsd.listen = [
        {
          address = "0.0.0.0";
          inherit (cfg) port;
        }
      ];
      users.monitor = {
        passwordFile = secrets.ups.path;
        upsmon = "primary";
      };
      upsmon.monitor.main = {
        system = "main@localhost:${toString cfg.port}";
        user = "monitor";
        passwordFile = secrets.ups.path;
      };
    };
    homelab.secrets.ups = {
      generate = true;
      units = [ "upsd.service" "upsmon.service" ];
    };
    homelab.health.units = [ "upsd.service" "upsmon.service" ];
  };
}
