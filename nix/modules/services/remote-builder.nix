# Builds for other hosts: for the account `user`, whose keys are those of the lab.
{ config, lib, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.remote-builder;
  own = config.nixpkgs.hostPlatform.system;
in
{
  options.homelab.services.remote-builder = {
    enable = o.enable "building for others";
    systems = o.list [ own ] "Platforms it builds for; others than its own need binfmt.";
    jobs = o.number 2 "Builds at once.";
    features = o.list [ "nixos-test" "benchmark" "big-parallel" "kvm" ] "What its builds may count on.";
    user = o.text "build" "Account that others use.";
  };
  config = lib.mkIf cfg.enable {
    nix.settings = {
      trusted-users = [ cfg.user ];
      max-jobs = lib.mkDefault cfg.jobs;
      system-features = cfg.features;
      extra-platforms = lib.filter (system: system != own) cfg.systems;
    };
  };
}
