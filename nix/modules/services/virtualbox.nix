# Virtual machines by VirtualBox. Admins may use it.
{ config, lib, ... }:
let
  inherit (config.homelab) lab host;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.virtualbox;
  admins = lib.filter (name: (lab.people.${name}.role or "") == "admin") host.users;
in
{
  options.homelab.services.virtualbox.enable = o.enable "VirtualBox";
  config = lib.mkIf cfg.enable {
    virtualisation.virtualbox.host.enable = true;
    users.users = lib.genAttrs admins (_: { extraGroups = [ "vboxusers" ]; });
  };
}
