# What a lab sets for one host in NixOS' own words (hosts.<host>.nix): packages, options. A module made from the lab's
# text, because which options it sets must be known before any option is.
{ lib, host }:
let
  own = host.settings.nix or { };
  # Members of these are names with dots of their own.
  dotted = [ "boot.kernel.sysctl" "environment.etc" "networking.firewall.interfaces" ];
  # `services.fwupd.enable` is three names; what stands in quotes is one, and so is what follows a name of `dotted`.
  words =
    name:
    let
      prefix = lib.findFirst (start: lib.hasPrefix "${start}." name) null dotted;
      rest = lib.removePrefix "${prefix}." name;
      quoted = builtins.match "([^\"]*)[.]\"([^\"]+)\"(.*)" name;
    in
    if quoted != null then
      lib.splitString "." (lib.elemAt quoted 0)
      ++ [ (lib.elemAt quoted 1) ]
      ++ lib.filter (word: word != "") (lib.splitString "." (lib.elemAt quoted 2))
    else if prefix != null then
      lib.splitString "." prefix ++ [ rest ]
    else
      lib.splitString "." name;
  # A single value that somebody wrote counts more than ours; lists and sets are put together.
  said = value: if lib.isList value || lib.isAttrs value then value else lib.mkOverride 90 value;
in
{ pkgs, ... }:
let
  package =
    name:
    lib.attrByPath (lib.splitString "." name) (throw "${host.name}: nixpkgs has no package ${name} (hosts.${host.name}.nix.packages)") pkgs;
in
{
  config = lib.mkMerge (
    [ { environment.systemPackages = map package (own.packages or [ ]); } ]
    ++ lib.mapAttrsToList (name: value: lib.setAttrByPath (words name) (said value)) (own.options or { })
  );
}
