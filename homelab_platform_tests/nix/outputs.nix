# What flake.nix of `root` makes of its lab.json: by which function each host's system is built, of which modules beyond
# our own, for which processor; which images there are, which checks. The inputs have the names of the real ones.
{ root }:
let
  built = by: { specialArgs, modules }: {
    inherit by;
    modules = builtins.filter builtins.isString modules;
    own = map (file: baseNameOf file) (builtins.filter builtins.isPath modules);
    inputs = builtins.attrNames specialArgs.inputs;
    platform = builtins.concatMap (m: if m ? nixpkgs then [ m.nixpkgs.hostPlatform ] else [ ]) (builtins.filter builtins.isAttrs modules);
    config.homelab.secrets = { };
    config.system.build = {
      toplevel = { drvPath = "drv"; outPath = builtins.concatStringsSep "" (builtins.concatMap (m: if m ? homelab then [ m.homelab.name ] else [ ]) (builtins.filter builtins.isAttrs modules)); };
      sdImage = "system.build.sdImage";
      images = builtins.listToAttrs (map (name: { inherit name; value = "system.build.images.${name}"; }) [ "hyperv" "iso" "qemu" "virtualbox" ]);
    };
  };
  lib = import ./lib.nix // { nixosSystem = built "nixpkgs"; };
  nixos-raspberrypi = {
    lib.nixosSystem = args: if args.specialArgs ? nixos-raspberrypi then built "nixos-raspberrypi" args else throw "specialArgs must provide nixos-raspberrypi";
    nixosModules = {
      sd-image = "sd-image";
      raspberry-pi-02.base = "raspberry-pi-02";
      raspberry-pi-3.base = "raspberry-pi-3";
      raspberry-pi-4.base = "raspberry-pi-4";
      raspberry-pi-4.display-vc4 = "display-vc4";
      raspberry-pi-5.base = "raspberry-pi-5";
      raspberry-pi-5.display-rp1 = "display-rp1";
      raspberry-pi-5.page-size-16k = "page-size-16k";
    };
  };
  flake = import (builtins.toPath "${root}/flake.nix");
  outputs = flake.outputs {
    self = outputs;
    nixpkgs = { inherit lib; };
    inherit nixos-raspberrypi;
  };
in
{
  systems = builtins.mapAttrs (_: system: { inherit (system) by modules own platform inputs; }) outputs.nixosConfigurations;
  inherit (outputs) images checks drvPaths secrets;
  inputs = flake.inputs;
  nixosModules = builtins.mapAttrs (_: toString) outputs.nixosModules;
}
