# Options in one line each, for the many settings of services: `text "…"` has no default, `flag false "…"` has one.
# A secret is a reference such as sops:secrets/dns.yaml#token; its value never comes near an evaluation.
{ lib }:
let
  inherit (lib) mkOption types;
  with' = type: default: description: mkOption { inherit type default description; };
in
{
  enable = what: with' types.bool false "Whether ${what} runs on this host.";
  flag = with' types.bool;
  number = with' types.int;
  port = with' types.port;
  list = with' (types.listOf types.str);
  text = with' types.str;
  maybe = with' (types.nullOr types.str) null;
  secret = with' (types.nullOr types.str) null;
  mapping = with' (types.attrsOf types.str) { };
  settings = with' (types.attrsOf types.anything) { };
}
