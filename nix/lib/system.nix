# One NixOS system from one host of lab.json. A Pi is built by nixos-raspberrypi's own function, with the nixpkgs that
# it was tested with; every other machine by nixpkgs'. `own` is the folder with the lab's own
# modules, which get `inputs`, those of the flake with what nix.inputs of the lab adds.
{ lib, nixpkgs, nixos-raspberrypi, lab, own, inputs }:
name: host:
let
  pi = import ./pi.nix { inherit lib; } host;
  isCard = (host.settings.image or "none") == "sd";
  modules = [
    ../modules
    {
      homelab = { inherit lab name; };
      nixpkgs.hostPlatform = import ./platform.nix host;
    }
    (import ./own.nix { inherit lib host; })
  ]
  ++ map (file: own + "/${file}") (lib.attrNames (host.settings.nix.modules or { }));
in
if pi == null then
  nixpkgs.lib.nixosSystem {
    specialArgs = { inherit inputs; };
    inherit modules;
  }
else
  nixos-raspberrypi.lib.nixosSystem {
    specialArgs = { inherit inputs nixos-raspberrypi; };
    modules =
      modules
      ++ [
        ../modules/hardware/pi.nix
        nixos-raspberrypi.nixosModules."raspberry-pi-${pi}".base
      ]
      # Optional upstream: with it rustc and all that is built by it leave the binary cache.
      ++ lib.optional (pi == "5" && (host.settings.page_size_16k or false))
        nixos-raspberrypi.nixosModules.raspberry-pi-5.page-size-16k
      ++ lib.optional (pi == "4" && host.services ? kiosk) nixos-raspberrypi.nixosModules.raspberry-pi-4.display-vc4
      ++ lib.optional (pi == "5" && host.services ? kiosk) nixos-raspberrypi.nixosModules.raspberry-pi-5.display-rp1
      ++ lib.optionals isCard [
        nixos-raspberrypi.nixosModules.sd-image
        ../modules/hardware/card.nix
      ];
  }
