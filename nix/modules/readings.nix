# What the host says of itself: Prometheus' node exporter, and its own readings for the lab's machine stream.
{ lib, pkgs, host, ... }:
let
  exporter = host.exporters.node or null;
  telemetry = host.telemetry or { };
  # The password is handed over by the deploy: the store would show it to everybody.
  password = "/var/lib/homelab/collector.password";
  # Read here, because in the checkout it is a link out of nix/: the store would get the link.
  collector = pkgs.writeText "collector.py" (builtins.readFile ../files/collector.py);
  settings = pkgs.writeText "collector.json"
    (builtins.toJSON (telemetry // { device = host.name; password_file = "mqtt"; }));
in
{
  services.prometheus.exporters.node = lib.mkIf (exporter != null) {
    enable = true;
    inherit (exporter) port;
    listenAddress = if host.address == null then "0.0.0.0" else host.address;
    openFirewall = false;
  };
  # The address may come later than the service.
  systemd.services.prometheus-node-exporter = lib.mkIf (exporter != null) {
    startLimitIntervalSec = 0;
    serviceConfig.RestartSec = 5;
  };

  systemd.tmpfiles.rules = lib.mkIf (telemetry != { }) [ "f ${password} 0600 root root -" ];
  systemd.services.homelab-collector = lib.mkIf (telemetry != { }) {
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
}
