# The NixOS hosts of a lab. What they are stands in lab.json beside this file. `homelab apply` and
# scripts/build-image.sh build from a copy, so that nobody's lab.json gets into the checkout (and because files/ links
# out of it). By hand:
#   cp -RL nix ~/lab-nix && homelab show --json > ~/lab-nix/lab.json
#   nix build "path:$HOME/lab-nix#nixosConfigurations.pi.config.system.build.toplevel"
#   nix build "path:$HOME/lab-nix#images.pi"
{
  description = "NixOS hosts of a lab, from its lab.json";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";
    # Kernel, firmware and boot loader of the Raspberry Pi. It brings the nixpkgs that its binary cache was built with:
    # another one would mean to compile the kernel. A release: what `main` was built with leaves the cache.
    nixos-raspberrypi.url = "github:nvmd/nixos-raspberrypi/v1.20260223.0";
    # nix.inputs of the lab:
  };

  # Only the outermost flake's settings count: without these the Pi's kernel would be compiled.
  nixConfig = {
    extra-substituters = [ "https://nixos-raspberrypi.cachix.org" ];
    extra-trusted-public-keys = [ "nixos-raspberrypi.cachix.org-1:4iMO9LXa8BqhU+Rpg6LQKiGa2lsNh/j2oiYLNOQ5sPI=" ];
  };

  outputs =
    inputs@{ self, nixpkgs, nixos-raspberrypi, ... }:
    let
      inherit (nixpkgs) lib;
      # Of a checkout without a lab only what any lab can use is left.
      lab = if builtins.pathExists ./lab.json then builtins.fromJSON (builtins.readFile ./lab.json) else { hosts = { }; settings = { }; };
      release = "25.11"; # of the inputs above
      asked = lab.settings.nix.release or release;
      ours =
        if asked == release then
          lib.filterAttrs (_: host: host.os == "nixos") lab.hosts
        else
          throw "nix/flake.nix brings NixOS ${release}, the lab asks for ${asked} (nix.release).";
      mkSystem = import ./lib/system.nix {
        inherit lib nixpkgs nixos-raspberrypi lab inputs;
        own = ./own;
      };
      systems = [ "x86_64-linux" "aarch64-linux" ];
      hostsOf = system: lib.filterAttrs (_: host: (import ./lib/platform.nix host) == system) ours;
      toplevel = name: self.nixosConfigurations.${name}.config.system.build.toplevel;
    in
    {
      nixosConfigurations = lib.mapAttrs mkSystem ours;

      # For flakes of one's own: set `homelab.lab` (lab.json) and `homelab.name`. The second is for Raspberry Pis, beside
      # nixos-raspberrypi's modules.
      nixosModules = {
        default = ./modules;
        raspberry-pi = ./modules/hardware/pi.nix;
      };

      # What a host starts from the first time: an SD card image for a Pi, an ISO or disk image for others.
      images = lib.mapAttrs (
        name: host: import ./lib/image.nix { inherit host; } self.nixosConfigurations.${name}.config.system.build
      ) (lib.filterAttrs (_: host: (host.settings.image or "none") != "none") ours);

      # Which secrets are to be delivered to which host, with where they come from.
      secrets = lib.mapAttrs (name: _: self.nixosConfigurations.${name}.config.homelab.secrets) ours;

      # Each host's whole system by its name, for the processor that it has; and one evaluation for all of them.
      packages = lib.genAttrs systems (system: lib.mapAttrs (name: _: toplevel name) (hostsOf system));
      drvPaths = lib.mapAttrs (name: _: (toplevel name).drvPath) ours;
      checks = self.packages;

      formatter = lib.genAttrs systems (system: nixpkgs.legacyPackages.${system}.nixfmt-rfc-style);
    };
}
