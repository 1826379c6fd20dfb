# Host services of lab.json that have a module here. One that has none stops the build: a service that is declared and
# silently missing would be worse.
{ lib, lab, host, ... }:
let
  known = [ "docker" "chrony" "zram" "avahi" "open-iscsi" ];
  missing = lib.subtractLists known (lib.attrNames host.services);
in
{
  assertions = [
    {
      assertion = missing == [ ];
      message = "${host.name}: nix/ has no module yet for ${lib.concatStringsSep ", " missing}. Take it out of the lab file, or bring a module of your own (hosts.${host.name}.nix.modules).";
    }
  ];

  virtualisation.docker = lib.mkIf (host.services ? docker) {
    enable = true;
    autoPrune.enable = host.services.docker.prune or true;
  };
  services.chrony = lib.mkIf (host.services ? chrony) (
    { enable = true; } // lib.optionalAttrs ((host.system.ntp or [ ]) != [ ]) { servers = host.system.ntp; }
  );
  services.avahi = lib.mkIf (host.services ? avahi) {
    enable = true;
    nssmdns4 = true;
    openFirewall = false;
  };
  services.openiscsi = lib.mkIf (host.services ? open-iscsi) {
    enable = true;
    name = "iqn.2016-04.com.open-iscsi:${host.name}.${lab.network.domain}";
  };
}
