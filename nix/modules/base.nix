# What every host has: time, language, SSH, Nix itself.
{ config, lib, ... }:
let
  inherit (lib) mkDefault;
  inherit (config.homelab) lab host;
  nix = lab.settings.nix or { };
  # Never younger than a week: a rollback needs the generation before, and days may pass until somebody notices.
  days = toString (lib.max 7 ((nix.gc or 2592000) / 86400));
  generations = toString (nix.generations or 5);
  ntp = host.system.ntp or [ ];
in
{
  system.stateVersion = mkDefault (host.settings.nix.state_version or nix.state_version or "25.11");

  time.timeZone = mkDefault lab.timezone;
  i18n.defaultLocale = mkDefault (host.system.language or "en_GB.UTF-8");
  console.keyMap = mkDefault (host.system.keyboard or "us");
  # For chrony, and for systemd's own client where there is none.
  networking.timeServers = lib.mkIf (ntp != [ ]) (mkDefault ntp);
  services.timesyncd.servers = lib.mkIf (ntp != [ ]) (mkDefault ntp);

  services.openssh = {
    enable = true;
    openFirewall = mkDefault false; # the lab's rules say who may come in
    authorizedKeysInHomedir = mkDefault false; # keys are those of the lab, and no others
    settings = {
      PasswordAuthentication = mkDefault false;
      KbdInteractiveAuthentication = mkDefault false;
      PermitRootLogin = mkDefault "prohibit-password";
      X11Forwarding = mkDefault false;
      MaxAuthTries = mkDefault 4;
      LoginGraceTime = mkDefault 30;
      ClientAliveInterval = mkDefault 30;
      ClientAliveCountMax = mkDefault 4;
    };
  };

  nix = {
    settings = {
      experimental-features = [ "nix-command" "flakes" ];
      trusted-users = [ "root" ];
      substituters = lib.attrNames (nix.caches or { });
      trusted-public-keys = lib.attrValues (nix.caches or { });
      auto-optimise-store = mkDefault true;
    };
    gc = {
      automatic = mkDefault true;
      dates = mkDefault "weekly";
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

  boot.tmp.cleanOnBoot = mkDefault true;
  # Logs wear SD cards out.
  services.journald.extraConfig = "SystemMaxUse=200M";
}
