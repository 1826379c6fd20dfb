# A small stand-in for nixpkgs' module system: enough to evaluate nix/ for one host of one lab, and to see every option
# that it sets. Our own options (homelab.*) are declared, typed and merged as the real one does it; those of NixOS are
# not declared here: what is set is compared with a list of NixOS' own. As with the real one, names under a condition
# that does not hold must be there to be read, and of two values the one that is said more strongly counts.
#   nix-instantiate --eval --strict --json stub.nix --argstr root …/nix --argstr lab …/lab.json --argstr host pi
# `packages` is a JSON list of the package names that there are, such as htop and kdePackages.kdenlive.
{ root, lab, host, packages ? "[]", show ? "config" }:
let
  b = builtins;
  theLab = b.fromJSON (b.readFile lab);
  theHost = theLab.hosts.${host};
  lib = import ./lib.nix;

  package = name: {
    type = "derivation";
    pname = name;
    outPath = "/nix/store/package-${name}";
  };
  # kdePackages.kdenlive is a package within a set, which is a package to who asks no further.
  pkgs = lib.foldl' lib.recursiveUpdate { } (
    map (name: lib.setAttrByPath (lib.splitString "." name) (package name)) (b.fromJSON packages)
  )
  // {
    writeText = name: text: b.seq (b.stringLength text) "/nix/store/text-${name}";
    writeShellScript = name: text: b.seq (b.stringLength text) "/nix/store/script-${name}";
    writeShellApplication = it: b.seq (b.stringLength it.text) (package it.name);
  };

  # What NixOS itself sets, as far as modules of ours read it. Weaker than anything that is said.
  nixos = lib.mkOverride 1500 {
    boot.kernelPackages.v4l2loopback = package "v4l2loopback";
    boot.zfs.package = package "zfs";
    nixpkgs.hostPlatform.system = import (b.toPath "${root}/lib/platform.nix") theHost;
    services.garage.package = package "garage";
    services.loki.dataDir = "/var/lib/loki";
    services.nextcloud.occ = package "nextcloud-occ";
    services.tlp.enable = false;
    services.xserver.enable = false;
  };
  # Of NixOS' options those that our modules ask whether they are there.
  known = { boot.binfmt.preferStaticEmulators = { }; services.harmonia.cache = { }; services.nextcloud.config.objectstore.s3.verify_bucket_exists = { }; };

  args = { inherit lib pkgs config; options = known; };
  load = module:
    let
      isFile = b.isPath module || b.isString module;
      file = if isFile && b.pathExists (module + "/default.nix") then module + "/default.nix" else module;
      said = if isFile then import file else module;
      body = if b.isFunction said then said args else said;
      besides = b.attrNames (b.removeAttrs body [ "config" "imports" "options" ]);
    in
    if (body ? config || body ? options) && besides != [ ] then
      throw "${toString file}: ${lib.head besides} stands beside config, it belongs into it"
    else
      [ { options = body.options or { }; config = body.config or (b.removeAttrs body [ "imports" "options" ]); } ]
      ++ b.concatMap load (body.imports or [ ]);
  isPi = import (b.toPath "${root}/lib/pi.nix") { inherit lib; } theHost != null;
  isCard = (theHost.settings.image or "none") == "sd";
  modules = b.concatMap load (
    [
      (b.toPath "${root}/modules")
      (import (b.toPath "${root}/lib/own.nix") { inherit lib; host = theHost; })
      { homelab = { lab = theLab; name = host; }; }
      { config = nixos; }
    ]
    ++ lib.optional isPi (b.toPath "${root}/modules/hardware/pi.nix")
    ++ lib.optional (isPi && isCard) (b.toPath "${root}/modules/hardware/card.nix")
  );

  isOption = node: b.isAttrs node && (node._kind or "") == "option";
  isTree = value: b.isAttrs value && (value.type or "") != "derivation";
  declared = lib.foldl' join { } (map (m: m.options) modules);
  join = left: right:
    lib.foldl' (all: name: all // {
      ${name} =
        if !(all ? ${name}) then right.${name}
        else if isOption all.${name} || isOption right.${name} then throw "an option is declared twice: ${name}"
        else join all.${name} right.${name};
    }) left (b.attrNames right);

  # Names within a definition, and the definitions of one name in it: conditions and priorities go down with them.
  names = it:
    if (it._kind or "") == "if" || (it._kind or "") == "override" then names it.content
    else if (it._kind or "") == "merge" then b.concatMap names it.contents
    else b.attrNames it;
  below = name: it:
    if (it._kind or "") == "if" then map (lib.mkIf it.condition) (below name it.content)
    else if (it._kind or "") == "override" then map (lib.mkOverride it.priority) (below name it.content)
    else if (it._kind or "") == "merge" then b.concatMap (below name) it.contents
    else lib.optional (it ? ${name}) it.${name};
  allNames = defs: lib.unique (b.concatMap names defs);

  # Conditions decided: the values that count, each with how strongly it is said.
  settle = priority: it:
    if b.isAttrs it && it ? _kind then
      if it._kind == "if" then (if it.condition then settle priority it.content else [ ])
      else if it._kind == "merge" then b.concatMap (settle priority) it.contents
      else settle it.priority it.content
    else
      [ { inherit priority; value = it; } ];
  settled = b.concatMap (settle 100);
  strongest = said: b.foldl' (least: it: lib.min least it.priority) 9999 said;
  left = said: map (it: it.value) (b.filter (it: it.priority == strongest said) said);

  # One of our options.
  option = path: node: defs:
    let
      said = settled defs;
      value = merge path node.type defs;
    in
    if said == [ ] then node.default or (throw "the option ${path} has no value")
    else if node.type.fits value then value
    else throw "${path} = ${b.toJSON value} is no ${node.type.name}";
  merge = path: type: defs:
    let
      values = left (settled defs);
    in
    if type.merges == "list" then b.concatLists values
    else if type.merges == "set" then
      lib.genAttrs (lib.filter (name: settled (b.concatMap (below name) defs) != [ ]) (allNames defs))
        (name: checked "${path}.${name}" type.of (merge "${path}.${name}" type.of (b.concatMap (below name) defs)))
    else if type.merges == "module" then
      tree path (type.module' path) defs
    else if type.merges == "any" && lib.all isTree values then b.foldl' lib.recursiveUpdate { } values
    else if lib.all (value: value == b.head values) values || type.name == "raw" then b.head values
    else throw "two values for ${path}: ${b.toJSON values}";
  checked = path: type: value: if type.fits value then value else throw "${path} = ${b.toJSON value} is no ${type.name}";
  last = path: lib.last (lib.splitString "." path);
  withModules = type:
    if type.merges == "module" then
      type // { module' = path: (if b.isFunction type.module then type.module { name = last path; } else type.module).options; }
    else if type ? of then type // { of = withModules type.of; }
    else type;
  tree = path: node: defs:
    if isOption node then option path (node // { type = withModules node.type; }) defs
    else
      let
        unknown = lib.filter (name: !(node ? ${name})) (allNames defs);
      in
      if unknown != [ ] then throw "there is no option ${path}.${lib.head unknown}"
      else b.mapAttrs (name: inner: tree "${path}.${name}" inner (b.concatMap (below name) defs)) node;

  # An option of NixOS, or a set of them: a set stays one as long as all that is said of it is a set.
  free = path: defs:
    let
      said = settled defs;
      values = left said;
    in
    if said == [ ] then throw "${path} is not set"
    else if lib.all (it: isTree it.value) said then
      b.listToAttrs (map (name: { inherit name; value = free "${path}.${name}" (b.concatMap (below name) defs); }) (allNames defs))
    else if lib.all b.isList values then b.concatLists values
    else if lib.all b.isFunction values then "<function>"
    else if lib.all (value: value == b.head values) values then b.head values
    else throw "two values for ${path}: ${b.toJSON values}";

  definitions = map (m: m.config) modules;
  config = b.listToAttrs (
    map (name: {
      inherit name;
      value =
        if declared ? ${name} then tree name declared.${name} (b.concatMap (below name) definitions)
        else free name (b.concatMap (below name) definitions);
    }) (lib.unique (allNames definitions ++ b.attrNames declared))
  );

  # What is set at last: without names of which nothing is set, and without what NixOS itself would set.
  shown = defs:
    let
      said = b.filter (it: it.priority < 1500) (settled defs);
      values = left said;
      inner = b.listToAttrs (map (name: { inherit name; value = shown (b.concatMap (below name) defs); }) (allNames defs));
      kept = lib.filterAttrs (_: value: value != null) inner;
    in
    if said == [ ] then null
    else if lib.all (it: isTree it.value) said then (if kept == { } && lib.all (it: it.value != { }) said then null else { is = lib.mapAttrs (_: it: it.is) kept; })
    else { is = if lib.all b.isList values then map item (b.concatLists values) else free "" defs; };
  # A set in a list may hold conditions of its own.
  item = value: if isTree value then (let it = shown [ value ]; in if it == null then { } else it.is) else value;
  ofNixos = b.removeAttrs (shown definitions).is [ "homelab" "assertions" "warnings" ];
  services = lib.mapAttrs (_: node: b.attrNames node) declared.homelab.services;
in
if show == "services" then services
else ofNixos // { homelab = b.removeAttrs config.homelab [ "lab" "host" ]; }
