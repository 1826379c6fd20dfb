# What every host has: time, language, SSH, Nix itself.
{ lib, lab, host, ... }:
let
  nix = lab.settings.nix or { };
  days = (nix.gc or 2592000) / 86400;
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
    # Never younger than a week: a rollback needs the generation before, and days may pass until somebody notices.
    gc = {
      automatic = true;
      dates = "weekly";
      options = "--delete-older-than ${toString (lib.max 7 days)}d";
    };
  };

  boot.tmp.cleanOnBoot = true;
  # Logs wear SD cards out.
  services.journald.extraConfig = "SystemMaxUse=200M";
}
