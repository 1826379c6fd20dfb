# Klipper. Its configuration is laid down once and then belongs to the printer's page, which saves into it.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.klipper;
  least = lib.optionalAttrs (cfg.serial != null) { mcu.serial = cfg.serial; } // {
    # Until the printer is described: no axis moves.
    printer = {
      kinematics = "none";
      max_velocity = 1;
      max_accel = 1;
    };
  };
in
{
  options.homelab.services.klipper = {
    enable = o.enable "Klipper";
    serial = o.maybe "Device of the printer.";
    settings = o.settings "Sections of printer.cfg.";
  };
  config = lib.mkIf cfg.enable {
    services.klipper = {
      enable = true;
      user = "klipper";
      group = "klipper";
      mutableConfig = lib.mkDefault true;
      settings = lib.recursiveUpdate least cfg.settings;
    };
    users.users.klipper = {
      isSystemUser = true;
      group = "klipper";
      extraGroups = [ "dialout" ];
    };
    users.groups.klipper = { };
    homelab.health.units = [ "klipper.service" ];
  };
}
