# Certificates by DNS-01, so that nothing here must be reachable from the internet.
{ config, lib, ... }:
let
  inherit (config.homelab) lab secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.acme;
  dns = lab.network.dns or { };
  provider = if cfg.provider != null then cfg.provider else lab.network.tls.provider or "cloudflare";
  token = if cfg.token != null then cfg.token else dns.${provider}.token or null;
  email = if cfg.email != null then cfg.email else lab.network.tls.email or null;
  names = if cfg.names != [ ] then cfg.names else [ "*.${lab.network.domain}" ];
  lego = {
    cloudflare = {
      dnsProvider = "cloudflare";
      credentialFiles.CF_DNS_API_TOKEN_FILE = secrets.acme.path;
    };
    gandi = {
      dnsProvider = "gandiv5";
      credentialFiles.GANDIV5_PERSONAL_ACCESS_TOKEN_FILE = secrets.acme.path;
    };
  };
in
{
  options.homelab.services.acme = {
    enable = o.enable "ACME";
    provider = o.maybe "cloudflare or gandi; that of network.dns when not said.";
    names = o.list [ ] "Names in the certificate; a wildcard of the lab's domain when not said.";
    email = o.maybe "Address that warnings go to; network.tls.email when not said.";
    token = o.secret "Reference to the provider's token.";
    certificate = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      readOnly = true;
      description = "Name of the certificate, for services that take it; null without ACME.";
    };
  };

  config = lib.mkMerge [
    { homelab.services.acme.certificate = if cfg.enable then lib.removePrefix "*." (lib.head names) else null; }
    (lib.mkIf cfg.enable {
      security.acme = {
        acceptTerms = true;
        defaults.email = email;
        certs.${cfg.certificate} = {
          domain = lib.head names;
          extraDomainNames = lib.tail names;
          # A resolver outside: in the lab's own DNS the proof would not be seen.
          dnsResolver = lib.mkDefault "1.1.1.1:53";
        }
        // lego.${provider};
      };
      homelab.secrets.acme.sources = lib.optionalAttrs (token != null) { value = token; };
    })
  ];
}
