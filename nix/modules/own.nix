# What a lab sets beyond our modules: packages, unfree ones that are allowed, NixOS options as they stand.
{ lib, pkgs, host, ... }:
let
  own = host.settings.nix or { };
  modules = own.modules or [ ];
  unfree = own.unfree or [ ];
  package =
    name:
    lib.attrByPath (lib.splitString "." name) (throw "${host.name}: nixpkgs has no package ${name} (hosts.${host.name}.nix.packages)") pkgs;
in
{
  config = lib.mkMerge (
    [
      {
        assertions = [
          {
            assertion = modules == [ ];
            message = "${host.name}: Nix modules of your own are not built in yet (${lib.concatStringsSep ", " modules}). Set their options in hosts.${host.name}.nix.options.";
          }
        ];
        environment.systemPackages = map package (own.packages or [ ]);
        nixpkgs.config = lib.mkIf (unfree != [ ]) {
          allowUnfreePredicate = package: lib.elem (lib.getName package) unfree;
        };
      }
    ]
    # `services.fwupd.enable: true` is as good as the three words one in another.
    ++ lib.mapAttrsToList (name: lib.setAttrByPath (lib.splitString "." name)) (own.options or { })
  );
}
