# Virtual machines by libvirt and KVM. Admins may use it.
{ config, lib, ... }:
let
  inherit (config.homelab) lab host;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.libvirt;
  admins = lib.filter (name: (lab.people.${name}.role or "") == "admin") host.users;
in
{
  options.homelab.services.libvirt.enable = o.enable "libvirt";
  config = lib.mkIf cfg.enable {
    virtualisation.libvirtd = {
      enable = true;
      qemu.swtpm.enable = lib.mkDefault true;
    };
    users.users = lib.genAttrs admins (_: { extraGroups = [ "libvirtd" ]; });
    homelab.health.units = [ "libvirtd.service" ];
  };
}
