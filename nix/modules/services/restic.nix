# Backups by restic of the folders that the lab names.
{ config, lib, ... }:
let
  inherit (config.homelab) lab host secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.restic;
  made = import ../../lib/restic.nix { inherit lib lab host secrets; } {
    targets = cfg.to;
    inherit (cfg) paths exclude at;
  };
in
{
  options.homelab.services.restic = {
    enable = o.enable "restic";
    paths = o.list [ "/etc/ssh" "/home" "/root" "/var/lib" ] "Folders to save.";
    to = o.list (lib.attrNames (lab.targets or { })) "Backup targets of the lab; all when not said.";
    exclude = o.list [ "/var/lib/docker" "/var/lib/containers" "/home/*/.cache" ] "What is left out.";
    at = o.text "02:30" "When, as systemd's OnCalendar has it.";
  };
  config = lib.mkIf cfg.enable {
    services.restic.backups = made.backups;
    homelab.secrets = made.secrets;
    inherit (made) fileSystems;
  };
}
