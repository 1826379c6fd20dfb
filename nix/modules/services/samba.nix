# Windows file shares for people with a login. Their passwords are those that the lab names for them.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) lab host secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.samba;
  networks = lib.filter (network: network != null) [ lab.network.lan lab.network.lan6 ] ++ host.sources.vpn or [ ];
in
{
  options.homelab.services.samba = {
    enable = o.enable "Samba";
    shares = o.mapping "Names to folders.";
    workgroup = o.text "WORKGROUP" "Workgroup that Windows shows.";
    users = o.list [ ] "People with a Samba account; each needs the secret samba-<name>.";
  };

  config = lib.mkIf cfg.enable {
    services.samba = {
      enable = true;
      openFirewall = lib.mkDefault false;
      nmbd.enable = lib.mkDefault false;
      winbindd.enable = lib.mkDefault false;
      settings = {
        global = {
          inherit (cfg) workgroup;
          "server min protocol" = lib.mkDefault "SMB3";
          "map to guest" = lib.mkDefault "Never";
          "hosts allow" = lib.mkDefault (lib.concatStringsSep " " ([ "127.0.0.1" "::1" ] ++ networks));
          "hosts deny" = lib.mkDefault "ALL";
        };
      }
      // lib.mapAttrs (_: path: {
        inherit path;
        "read only" = lib.mkDefault "no";
        browseable = lib.mkDefault "yes";
      }) cfg.shares;
    };
    systemd.services.samba-smbd.unitConfig.RequiresMountsFor = lib.attrValues cfg.shares;
    homelab.health.units = [ "samba-smbd.service" ];

    # Samba keeps hashes of its own, so a password is told to it once more.
    homelab.secrets = lib.genAttrs (map (name: "samba-${name}") cfg.users) (_: { units = [ "samba-accounts.service" ]; });
    systemd.services.samba-accounts = lib.mkIf (cfg.users != [ ]) {
      description = "Samba accounts of the lab's people";
      wantedBy = [ "multi-user.target" ];
      after = [ "samba-smbd.service" "homelab-secrets.service" ];
      path = [ pkgs.samba ];
      serviceConfig = {
        Type = "oneshot";
        LoadCredential = map (name: "${name}:${secrets."samba-${name}".path}") cfg.users;
      };
      script = lib.concatMapStrings (name: ''
        { cat "$CREDENTIALS_DIRECTORY/${name}"; echo; cat "$CREDENTIALS_DIRECTORY/${name}"; echo; } |
          smbpasswd -s -a ${name}
      '') cfg.users;
    };
  };
}
