# A public DNS record that follows the address of the line, at Gandi or Cloudflare.
{ config, lib, ... }:
let
  inherit (config.homelab) lab secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.dynamic-dns;
  dynamic = lab.network.dns.dynamic or { };
  provider = if cfg.provider != null then cfg.provider else dynamic.provider or "gandi";
  names = if cfg.names != [ ] then cfg.names else dynamic.names or [ ];
  token = if cfg.token != null then cfg.token else lab.network.dns.${provider}.token or null;
  # The zone of a name is its last two labels.
  zone = lib.concatStringsSep "." (lib.drop (lib.length labels - 2) labels);
  labels = lib.splitString "." (lib.head names);
in
{
  options.homelab.services.dynamic-dns = {
    enable = o.enable "dynamic DNS";
    provider = o.maybe "cloudflare or gandi; that of network.dns.dynamic when not said.";
    names = o.list [ ] "Names that follow the line's address.";
    token = o.secret "Reference to the provider's token.";
    every = o.number 300 "Seconds between two looks at the address.";
  };

  config = lib.mkIf cfg.enable {
    services.inadyn = lib.mkIf (provider == "gandi") {
      enable = true;
      interval = lib.mkDefault "*:0/${toString (lib.max 1 (cfg.every / 60))}";
      settings.provider."gandi.net" = {
        username = zone;
        hostname = names;
        include = secrets.dynamic-dns.path;
      };
    };
    services.cloudflare-dyndns = lib.mkIf (provider == "cloudflare") {
      enable = true;
      domains = names;
      apiTokenFile = secrets.dynamic-dns.path;
      frequency = lib.mkDefault "*:0/${toString (lib.max 1 (cfg.every / 60))}";
    };
    homelab.secrets.dynamic-dns = {
      sources = lib.optionalAttrs (token != null) { value = token; };
      template = if provider == "gandi" then "password = \"{value}\"\n" else "{value}";
      owner = if provider == "gandi" then "inadyn" else "root";
    };
  };
}
