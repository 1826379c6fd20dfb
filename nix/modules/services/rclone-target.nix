# Folders that are brought to a remote of rclone: from a snapshot where they lie on ZFS, and compared afterwards.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) lab host secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.rclone-target;
  marks = lib.unique (lib.concatMap (import ../../lib/pools.nix { inherit lib lab host; }) cfg.source);
in
{
  options.homelab.services.rclone-target = {
    enable = o.enable "rclone's synchronisation";
    source = o.list [ ] "Folders.";
    to = o.text "" "Remote and path, such as b2:bucket.";
    at = o.text "03:00" "When, as systemd's OnCalendar has it.";
    every = o.maybe "How often instead, as systemd's OnUnitActiveSec has it.";
    snapshots = o.flag true "Whether a folder on ZFS is read from a snapshot.";
    verify = o.flag true "Whether both sides are compared afterwards.";
    config = o.secret "Reference to rclone's configuration.";
  };
  config = lib.mkIf cfg.enable {
    homelab.secrets.rclone.sources = lib.optionalAttrs (cfg.config != null) { value = cfg.config; };
    systemd.timers.rclone-target = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        Persistent = true;
        RandomizedDelaySec = "15m";
      }
      // (if cfg.every == null then { OnCalendar = cfg.at; } else { OnBootSec = "15min"; OnUnitActiveSec = cfg.every; });
    };
    systemd.services.rclone-target = {
      description = "Bring folders to ${cfg.to}";
      wants = [ "network-online.target" ];
      after = [ "network-online.target" "homelab-secrets.service" ];
      unitConfig = {
        RequiresMountsFor = cfg.source;
        ConditionPathExists = lib.mkIf (marks != [ ]) marks;
      };
      path = [ pkgs.rclone pkgs.util-linux ] ++ lib.optional (cfg.snapshots && config.homelab.services.zfs.enable) config.boot.zfs.package;
      serviceConfig = {
        Type = "oneshot";
        LoadCredential = "rclone:${secrets.rclone.path}";
        RuntimeDirectory = "rclone-target";
        RuntimeDirectoryMode = "0700";
        Nice = 10;
        IOSchedulingClass = "idle";
      };
      # rclone writes renewed tokens into its configuration: it gets a copy.
      script = ''
        install -m 0600 "$CREDENTIALS_DIRECTORY/rclone" "$RUNTIME_DIRECTORY/rclone.conf"
        export RCLONE_CONFIG="$RUNTIME_DIRECTORY/rclone.conf"
        bring() {
          rclone sync --checksum "$1" "$2"
          ${lib.optionalString cfg.verify ''rclone check --one-way "$1" "$2"''}
        }
        for folder in ${lib.escapeShellArgs cfg.source}; do
          remote=${lib.escapeShellArg cfg.to}/$(basename "$folder")
          dataset=$(findmnt --noheadings --output SOURCE --types zfs --target "$folder" || true)
          if [ -n "$dataset" ] && command -v zfs >/dev/null; then
            mount=$(findmnt --noheadings --output TARGET --target "$folder")
            zfs destroy "$dataset@rclone-target" 2>/dev/null || true
            zfs snapshot "$dataset@rclone-target"
            bring "$mount/.zfs/snapshot/rclone-target/''${folder#"$mount"}" "$remote"
            zfs destroy "$dataset@rclone-target"
          else
            bring "$folder" "$remote"
          fi
        done
      '';
    };
  };
}
