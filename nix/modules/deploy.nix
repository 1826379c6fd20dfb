# What the platform looks at on this host: units that must run, addresses that must answer. And what keeps a deploy from
# going wrong by itself.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) health host;
in
{
  homelab.health.units = [
    "sshd.service"
    "nftables.service"
    "systemd-networkd.service"
  ];
  environment.etc."homelab/units".text = lib.concatMapStrings (unit: "${unit}\n") (lib.unique health.units);
  environment.etc."homelab/listen".text = lib.concatMapStrings (address: "${address}\n") (lib.unique health.listen);
  # Asked for before a switch: a system on the wrong machine would take its address and lock its people out.
  environment.etc."homelab/host".text = "${host.name}\n";
  system.preSwitchChecks.homelabHost = ''
    running=$(cat /etc/homelab/host 2>/dev/null || true)
    if [ -n "$running" ] && [ "$running" != ${lib.escapeShellArg host.name} ]; then
      echo "this machine is $running, the system is ${host.name}'s" >&2
      exit 1
    fi
  '';

  # A switch goes through the network that it changes: restarted at once, not stopped first and started last.
  systemd.services.systemd-networkd.stopIfChanged = false;
  systemd.services.systemd-resolved.stopIfChanged = false;
}
