# A binary cache of what this host built. Others take from it by nix.caches of the lab, which names its public key.
{ config, lib, options, ... }:
let
  inherit (config.homelab) secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.nix-cache;
  harmonia = {
    enable = true;
    signKeyPaths = [ secrets.nix-cache.path ];
    settings.bind = "[::]:${toString cfg.port}";
  };
in
{
  options.homelab.services.nix-cache = {
    enable = o.enable "a binary cache";
    port = o.port 5000 "Port it answers on.";
    key = o.secret "Reference to the private key that signs.";
  };
  config = lib.mkIf cfg.enable {
    # Newer releases have it one level lower.
    services.harmonia = if options.services.harmonia ? cache then { cache = harmonia; } else harmonia;
    homelab.secrets.nix-cache = {
      sources = lib.optionalAttrs (cfg.key != null) { value = cfg.key; };
      units = [ "harmonia.service" ];
    };
    homelab.health.units = [ "harmonia.service" ];
  };
}
