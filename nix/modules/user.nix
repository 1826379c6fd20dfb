# People with a login, by lab.json. Who leaves it, leaves the host with the next generation.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) lab host;
  people = lib.genAttrs (lib.filter (name: lab.people ? ${name}) host.users) (name: lab.people.${name});
  shells = {
    bash = pkgs.bashInteractive;
    inherit (pkgs) zsh fish;
    nologin = pkgs.shadow;
  };
  isAdmin = person: person.role == "admin" && (person.settings.kind or "person") != "build";
  deploys = person: (person.settings.kind or "person") == "deploy";
  deployers = lib.attrNames (lib.filterAttrs (_: person: isAdmin person || deploys person) people);
  uses = shell: lib.any (person: (person.settings.shell or "bash") == shell) (lib.attrValues people);
  # A password is a hash in a file: it works at the console and for sudo, SSH takes keys alone.
  withPassword = lib.filterAttrs (_: person: (person.settings.password or null) != null) people;
in
{
  users.mutableUsers = false;
  users.users = lib.mapAttrs (name: person: {
    isNormalUser = true;
    description = person.settings.full_name or name;
    extraGroups = person.groups ++ lib.optional (isAdmin person) "wheel";
    shell = lib.mkOverride 900 shells.${person.settings.shell or "bash"};
    openssh.authorizedKeys.keys = person.ssh_keys;
    hashedPasswordFile = lib.mkIf (withPassword ? ${name}) config.homelab.secrets."password-${name}".path;
  }) people;
  homelab.secrets = lib.mapAttrs' (name: person: {
    name = "password-${name}";
    value.sources.value = person.settings.password;
  }) withPassword;
  # Groups that people are in without a service that makes them.
  users.groups = lib.genAttrs (lib.unique (lib.concatMap (person: person.groups) (lib.attrValues people))) (_: { });
  programs.zsh.enable = lib.mkIf (uses "zsh") true;
  programs.fish.enable = lib.mkIf (uses "fish") true;

  # Deploys become root without anyone to ask, and bring systems that no cache has signed.
  nix.settings.trusted-users = deployers;
  security.sudo.extraRules = [
    {
      users = deployers;
      commands = [
        {
          command = "ALL";
          options = [ "NOPASSWD" ];
        }
      ];
    }
  ];
}
