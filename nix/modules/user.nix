# People with a login, by lab.json. Who leaves it, leaves the host with the next generation.
{ lib, pkgs, lab, host, ... }:
let
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
in
{
  users.mutableUsers = false;
  users.users = lib.mapAttrs (name: person: {
    isNormalUser = true;
    description = person.settings.full_name or name;
    extraGroups = person.groups ++ lib.optional (isAdmin person) "wheel";
    shell = shells.${person.settings.shell or "bash"};
    openssh.authorizedKeys.keys = person.ssh_keys;
  }) people;
  programs.zsh.enable = uses "zsh";
  programs.fish.enable = uses "fish";

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
