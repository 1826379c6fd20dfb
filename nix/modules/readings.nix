# The host's own readings, for the lab's machine stream.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) host;
  telemetry = host.telemetry or { };
  # The password is handed over by the deploy: the store would show it to everybody.
  password = "/var/lib/homelab/collector.password";
  # Read here, because in the checkout it is a link out of nix/: the store would get the link.
  collector = pkgs.writeText "collector.py" (builtins.readFile ../files/collector.py);
  settings = pkgs.writeText "collector.json"
    (builtins.toJSON (telemetry // { device = host.name; password_file = "mqtt"; }));
in
{
  config = lib.mkIf (telemetry != { }) {
    homelab.health.units = [ "homelab-collector.service" ];
    systemd.tmpfiles.rules = [ "f ${password} 0600 root root -" ];
    systemd.services.homelab-collector = {
      description = "Readings of this machine for the lab";
      wantedBy = [ "multi-user.target" ];
      startLimitIntervalSec = 0;
      serviceConfig = {
        ExecStart = "${pkgs.python3Minimal}/bin/python3 -I -S ${collector} ${settings}";
        DynamicUser = true;
        LoadCredential = "mqtt:${password}";
        StateDirectory = "homelab-collector";
        Restart = "always";
        RestartSec = 10;
        Nice = 10;
        MemoryMax = "48M";
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        ProtectHome = true;
        PrivateTmp = true;
      };
    };
  };
}
