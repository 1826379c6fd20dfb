# Runners of GitHub Actions for one repository: each job in a fresh one.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) host secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.github-runner;
  names = map (number: "${host.name}-${toString number}") (lib.range 1 cfg.count);
in
{
  options.homelab.services.github-runner = {
    enable = o.enable "a GitHub runner";
    repository = o.text "" "Address of the repository (a private one).";
    token = o.secret "Reference to a personal access token: a registration token lives an hour only.";
    labels = o.list [ ] "Further labels.";
    count = o.number 1 "How many run side by side.";
    ephemeral = o.flag true "Whether each takes one job and is then made anew.";
  };
  config = lib.mkIf cfg.enable {
    services.github-runners = lib.genAttrs names (_: {
      enable = true;
      url = cfg.repository;
      tokenFile = secrets.github-runner.path;
      inherit (cfg) ephemeral;
      replace = true;
      extraLabels = [ "nix" ] ++ cfg.labels;
      extraPackages = [ pkgs.nix pkgs.git ];
    });
    homelab.secrets.github-runner = {
      sources = lib.optionalAttrs (cfg.token != null) { value = cfg.token; };
      units = map (name: "github-runner-${name}.service") names;
    };
  };
}
