# Syncthing. Folders and devices that the lab names are those that it has; without any, they are made in its page.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.syncthing;
  ofPerson = cfg.user != null;
in
{
  options.homelab.services.syncthing = {
    enable = o.enable "Syncthing";
    port = o.port 8384 "Port of its page, on this host alone.";
    data = o.text (if ofPerson then "/home/${cfg.user}" else "/var/lib/syncthing") "Folder that new folders are made in.";
    user = o.maybe "Person whose files they are; a user of its own when not said.";
    folders = o.mapping "Names to paths.";
    devices = o.mapping "Names to device ids.";
  };
  config = lib.mkIf cfg.enable {
    services.syncthing = {
      enable = true;
      openDefaultPorts = lib.mkDefault false;
      guiAddress = lib.mkDefault "127.0.0.1:${toString cfg.port}";
      dataDir = cfg.data;
      overrideDevices = lib.mkDefault (cfg.devices != { });
      overrideFolders = lib.mkDefault (cfg.folders != { });
      settings = {
        devices = lib.mapAttrs (_: id: { inherit id; }) cfg.devices;
        folders = lib.mapAttrs (_: path: {
          inherit path;
          devices = lib.attrNames cfg.devices;
        }) cfg.folders;
        options.urAccepted = lib.mkDefault (-1);
      };
    }
    // lib.optionalAttrs ofPerson {
      inherit (cfg) user;
      group = "users";
    };
    homelab.health.units = [ "syncthing.service" ];
  };
}
