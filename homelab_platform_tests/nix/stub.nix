# A small stand-in for nixpkgs' module system: enough to evaluate nix/ for one host of one lab, and to see every option
# that it sets. Options are not declared here: the paths are compared with a list of NixOS' own. As with the real one,
# names under a condition that does not hold must be there to be read, a module says `config` or nothing of the kind,
# and of two values the one that is said more strongly counts.
#   nix-instantiate --eval --strict --json stub.nix --argstr root …/nix --argstr lab …/lab.json --argstr host pi
{ root, lab, host }:
let
  b = builtins;
  theLab = b.fromJSON (b.readFile lab);
  theHost = theLab.hosts.${host};

  lib = import ./lib.nix;

  # A package is its name; the few functions of pkgs that modules call give a path.
  pkgs = lib.genAttrs [ "bashInteractive" "zsh" "fish" "shadow" "python3Minimal" "htop" "k3s" "k3s_1_33" ] (name: "/nix/store/package-${name}")
    // { writeText = name: text: b.seq (b.stringLength text) "/nix/store/text-${name}"; };

  args = { inherit lib pkgs; lab = theLab; host = theHost; };
  loadModule = path:
    let
      file = if b.pathExists (path + "/default.nix") then path + "/default.nix" else path;
      m = import file;
      body = if b.isFunction m then m args else m;
      besides = b.attrNames (b.removeAttrs body [ "config" "imports" ]);
    in
    if body ? config && besides != [ ] then
      throw "${toString file}: ${lib.head besides} stands beside config, it belongs into it"
    else
      [ (body.config or (b.removeAttrs body [ "imports" ])) ] ++ b.concatMap loadModule (body.imports or [ ]);

  # The module system reads names down to the options, also under a condition that does not hold. Most options of ours
  # lie at the third level, so the names of two are read here. What is not there to be read (a lab without a cluster)
  # must not be asked for.
  readable = levels: content:
    if b.isAttrs content && content ? _kind then
      if content._kind == "merge" then lib.all (readable levels) content.contents else readable levels content.content
    else
      levels == 0 || !(b.isAttrs content) || lib.all (name: levels == 1 || readable (levels - 1) content.${name}) (b.attrNames content);

  # Conditions decided: the values for one place, each with how strongly it is said.
  settle = levels: priority: value:
    if b.isAttrs value && value ? _kind then
      if value._kind == "if" then
        if value.condition then settle levels priority value.content
        else b.seq (levels <= 1 || readable levels value.content) [ ]
      else if value._kind == "merge" then b.concatMap (settle levels priority) value.contents
      else settle levels value.priority value.content
    else
      [ { inherit priority value; } ];

  isTree = value: b.isAttrs value && (value.type or "") != "derivation";

  # `said` are the values for one place.
  merge = levels: said:
    let
      keys = lib.unique (b.concatMap (it: b.attrNames it.value) said);
      below = name: b.concatMap (it: settle (lib.max 0 (levels - 1)) it.priority it.value.${name}) (b.filter (it: it.value ? ${name}) said);
      strongest = b.foldl' (least: it: lib.min least it.priority) 9999 said;
      left = map (it: it.value) (b.filter (it: it.priority == strongest) said);
    in
    if lib.all (it: isTree it.value) said then
      # What has names of which none is set at last is not set itself.
      lib.filterAttrs (name: value: value != { } || lib.any (it: it.value == { }) (below name))
        (lib.mapAttrs (_: merge (lib.max 0 (levels - 1))) (lib.filterAttrs (_: values: values != [ ]) (lib.genAttrs keys below)))
    else if lib.all b.isList left then
      map (item: if isTree item then merge 0 (settle 0 100 item) else item) (b.concatLists left)
    else if lib.all b.isFunction left then "<function>"
    else if lib.all (value: value == b.head left) left then b.head left
    else throw "two values for one option: ${b.toJSON left}";

  config = merge 3 (b.concatMap (settle 3 100) (loadModule (b.toPath "${root}/modules")));
  failed = b.filter (a: !a.assertion) (config.assertions or [ ]);
in
if failed != [ ] then throw (b.head failed).message else b.removeAttrs config [ "assertions" ]
