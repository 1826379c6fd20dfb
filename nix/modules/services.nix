# Host services of lab.json that have a module here. What is asked for and has none stops the build: a service that is
# declared and silently missing would be worse.
{ lib, lab, host, ... }:
let
  known = [ "docker" "chrony" "zram" "avahi" "open-iscsi" ];
  missing = lib.subtractLists known (lib.attrNames host.services);
  profiles = host.settings.profiles or [ ];
  lacking = what: names: {
    assertion = names == [ ];
    message = "${host.name}: nix/ has no ${what} yet for ${lib.concatStringsSep ", " names}. Take it out of the lab file, and set NixOS' own options instead (hosts.${host.name}.nix.options).";
  };
  has = name: host.services ? ${name};
in
{
  assertions = [
    (lacking "module" missing)
    (lacking "profile" (lib.subtractLists [ "headless" "zram" ] profiles))
    (lacking "exporter" (lib.subtractLists [ "node" ] (lib.attrNames host.exporters)))
    (lacking "settings of further interfaces" (lib.attrNames host.interfaces))
  ];

  virtualisation.docker = lib.mkIf (has "docker") {
    enable = true;
    autoPrune.enable = host.services.docker.prune or true;
  };
  services.chrony.enable = has "chrony";
  services.avahi = lib.mkIf (has "avahi") {
    enable = true;
    nssmdns4 = true;
    openFirewall = false;
  };
  services.openiscsi = lib.mkIf (has "open-iscsi") {
    enable = true;
    name = "iqn.2016-04.com.open-iscsi:${host.name}.${lab.network.domain}";
  };
  zramSwap.enable = has "zram" || lib.elem "zram" profiles;
}
