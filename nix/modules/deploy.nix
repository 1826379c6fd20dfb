# What the platform looks at on this host: units that must run, addresses that must answer.
{ lib, host, ... }:
let
  exporter = host.exporters.node or null;
  listen = lib.optional (exporter != null) "${if host.address == null then "127.0.0.1" else host.address}:${toString exporter.port}";
  units = [
    "sshd.service"
    "nftables.service"
    "systemd-networkd.service"
  ]
  ++ lib.optional (exporter != null) "prometheus-node-exporter.service"
  ++ lib.optional ((host.telemetry or { }) != { }) "homelab-collector.service"
  ++ lib.optional (host.k3s != null) "k3s.service"
  ++ lib.optional (host.services ? docker) "docker.service"
  ++ lib.optional (host.services ? chrony) "chronyd.service"
  ++ lib.optional (host.services ? avahi) "avahi-daemon.service";
in
{
  environment.etc."homelab/units".text = lib.concatStringsSep "\n" units + "\n";
  environment.etc."homelab/listen".text = lib.concatStringsSep "\n" listen + "\n";
}
