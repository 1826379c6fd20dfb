# What every host has: time, language, SSH, Nix itself.
{ lib, lab, host, ... }:
let
  nix = lab.settings.nix or { };
  # Never younger than a week: a rollback needs the generation before, and days may pass until somebody notices.
  days = toString (lib.max 7 ((nix.gc or 2592000) / 86400));
  generations = toString (nix.generations or 5);
  ntp = host.system.ntp or [ ];
in
{
  system.stateVersion = host.settings.nix.state_version or nix.state_version or "25.11";

  time.timeZone = lab.timezone;
  i18n.defaultLocale = host.system.language or "en_GB.UTF-8";
  console.keyMap = host.system.keyboard or "us";
  # For chrony, and for systemd's own client where there is none.
  networking.timeServers = lib.mkIf (ntp != [ ]) ntp;
  services.timesyncd.servers = lib.mkIf (ntp != [ ]) ntp;

  services.openssh = {
    enable = true;
    openFirewall = false; # the lab's rules say who may come in
    authorizedKeysInHomedir = false; # keys are those of the lab, and no others
    settings = {
      PasswordAuthentication = false;
      KbdInteractiveAuthentication = false;
      PermitRootLogin = "prohibit-password";
      X11Forwarding = false;
      MaxAuthTries = 4;
      LoginGraceTime = 30;
      ClientAliveInterval = 30;
      ClientAliveCountMax = 4;
    };
  };

  nix = {
    settings = {
      experimental-features = [ "nix-command" "flakes" ];
      trusted-users = [ "root" ];
      substituters = lib.attrNames (nix.caches or { });
      trusted-public-keys = lib.attrValues (nix.caches or { });
      auto-optimise-store = true;
    };
    gc = {
      automatic = true;
      dates = "weekly";
    };
  };

  # Of the generations the newest stay whatever their age, of the others those that are young enough.
  systemd.services.nix-gc.preStart = ''
    cd /nix/var/nix/profiles
    for link in $(ls -v | grep '^system-[0-9]*-link$' | head -n -${generations}); do
      [ -z "$(find "$link" -maxdepth 0 -mtime +${days})" ] ||
        /run/current-system/sw/bin/nix-env --profile /nix/var/nix/profiles/system --delete-generations "$(echo "$link" | tr -cd 0-9)"
    done
  '';

  boot.tmp.cleanOnBoot = true;
  # Logs wear SD cards out.
  services.journald.extraConfig = "SystemMaxUse=200M";
}
