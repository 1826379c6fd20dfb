package main

import (
	"fmt"
	"sort"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const table = "homelab_policies"

// ruleset is the whole of a node's rules for nft(8), which replaces the former ones in one step. A pod that a policy
// selects has a chain for what may come in or go out: what no rule of it lets return is dropped. Addresses are those
// behind a service, not the service's own; what the node itself sends to its pods (probes) is never refused.
func ruleset(
	node string, pods []*core.Pod, spaces []*core.Namespace, policies []*networking.NetworkPolicy,
) string {
	all := newCluster(pods, spaces)
	var chains, in, out []string
	for number, pod := range local(all.pods, node) {
		ingress, guardedIn := all.chain(pod, policies, true)
		egress, guardedOut := all.chain(pod, policies, false)
		if guardedIn {
			chains = append(chains, chain(fmt.Sprintf("in_%d", number), pod, ingress))
			in = append(in, fmt.Sprintf("%s : jump in_%d", pod.Status.PodIP, number))
		}
		if guardedOut {
			chains = append(chains, chain(fmt.Sprintf("out_%d", number), pod, egress))
			out = append(out, fmt.Sprintf("%s : jump out_%d", pod.Status.PodIP, number))
		}
	}
	forward := append(verdicts("saddr", out), verdicts("daddr", in)...)
	return fmt.Sprintf("table ip %[1]s {}\ndelete table ip %[1]s\ntable ip %[1]s {\n%[2]s%[3]s%[4]s}\n", table,
		strings.Join(chains, ""), hook("forward", forward), hook("input", verdicts("saddr", out)))
}

func local(pods []*core.Pod, node string) []*core.Pod {
	var found []*core.Pod
	for _, pod := range pods {
		if pod.Spec.NodeName == node {
			found = append(found, pod)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Status.PodIP < found[j].Status.PodIP })
	return found
}

func verdicts(side string, entries []string) []string {
	if len(entries) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("ip %s vmap { %s }", side, strings.Join(entries, ", "))}
}

func hook(name string, lines []string) string {
	head := fmt.Sprintf("type filter hook %s priority -10; policy accept;", name)
	return block(name, append([]string{head, "ct state established,related accept"}, lines...))
}

func chain(name string, pod *core.Pod, lines []string) string {
	head := fmt.Sprintf("comment %q", pod.Namespace+"/"+pod.Name)
	return block(name, append(append([]string{head}, lines...), "drop"))
}

func block(name string, lines []string) string {
	return fmt.Sprintf("  chain %s {\n    %s\n  }\n", name, strings.Join(lines, "\n    "))
}

// chain is what the policies let a pod receive (or send), one line a rule, and whether any policy selects it.
func (c cluster) chain(pod *core.Pod, policies []*networking.NetworkPolicy, ingress bool) ([]string, bool) {
	var lines []string
	selected := false
	for _, policy := range policies {
		forIn, forOut := rules(policy)
		if (ingress && !forIn) || (!ingress && !forOut) || policy.Namespace != pod.Namespace ||
			!matches(&policy.Spec.PodSelector, pod.Labels) {
			continue
		}
		selected = true
		if ingress {
			for _, rule := range policy.Spec.Ingress {
				lines = append(lines, c.allow(policy.Namespace, pod, rule.From, rule.Ports, true)...)
			}
		} else {
			for _, rule := range policy.Spec.Egress {
				lines = append(lines, c.allow(policy.Namespace, pod, rule.To, rule.Ports, false)...)
			}
		}
	}
	sort.Strings(lines) // the order of policies in a cache is nobody's: the same policies make the same text
	return lines, selected
}

// allow is one rule of a policy as lines that return: from (or to) its peers, on its ports.
func (c cluster) allow(
	space string, pod *core.Pod, peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort, ingress bool,
) []string {
	side := "daddr"
	if ingress {
		side = "saddr"
	}
	var lines []string
	if len(peers) == 0 {
		for _, match := range portMatches(ports, c.targets(pod, c.pods, ingress)) {
			lines = append(lines, match+"return")
		}
	}
	for _, peer := range peers {
		addresses, found := c.peer(space, peer)
		if addresses == "" {
			continue
		}
		for _, match := range portMatches(ports, c.targets(pod, found, ingress)) {
			lines = append(lines, fmt.Sprintf("%s%sreturn", strings.ReplaceAll(addresses, "SIDE", side), match))
		}
	}
	return lines
}

// targets are the pods whose ports a rule means: a name of a port is a name in the pod that is spoken to.
func (c cluster) targets(pod *core.Pod, peers []*core.Pod, ingress bool) []*core.Pod {
	if ingress {
		return []*core.Pod{pod}
	}
	return peers
}

// peer is a match for the addresses of a peer, with SIDE for saddr or daddr, and its pods; "" when nobody is meant.
func (c cluster) peer(space string, peer networking.NetworkPolicyPeer) (string, []*core.Pod) {
	if peer.IPBlock != nil {
		if strings.Contains(peer.IPBlock.CIDR, ":") {
			return "", nil // the lab has no IPv6
		}
		match := fmt.Sprintf("ip SIDE %s ", peer.IPBlock.CIDR)
		if len(peer.IPBlock.Except) > 0 {
			match += fmt.Sprintf("ip SIDE != { %s } ", strings.Join(peer.IPBlock.Except, ", "))
		}
		return match, nil
	}
	var found []*core.Pod
	var addresses []string
	for _, pod := range c.pods {
		if peer.NamespaceSelector == nil && pod.Namespace != space {
			continue
		}
		if peer.NamespaceSelector != nil && !matches(peer.NamespaceSelector, c.spaces[pod.Namespace]) {
			continue
		}
		if peer.PodSelector != nil && !matches(peer.PodSelector, pod.Labels) {
			continue
		}
		found = append(found, pod)
		addresses = append(addresses, pod.Status.PodIP)
	}
	if len(found) == 0 {
		return "", nil
	}
	sort.Strings(addresses)
	return fmt.Sprintf("ip SIDE { %s } ", strings.Join(addresses, ", ")), found
}

func matches(selector *meta.LabelSelector, given labels.Set) bool {
	wanted, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && wanted.Matches(given) // the API server lets no selector in that cannot be read
}

// portMatches are the ports of a rule as matches; one empty match when the rule names no ports.
func portMatches(ports []networking.NetworkPolicyPort, targets []*core.Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var found []string
	for _, port := range ports {
		protocol := core.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		name := strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			found = append(found, fmt.Sprintf("meta l4proto %s ", name))
		case port.EndPort != nil:
			found = append(found, fmt.Sprintf("%s dport %d-%d ", name, port.Port.IntVal, *port.EndPort))
		case port.Port.Type == intstr.Int:
			found = append(found, fmt.Sprintf("%s dport %d ", name, port.Port.IntVal))
		default:
			for _, number := range named(port.Port.StrVal, protocol, targets) {
				found = append(found, fmt.Sprintf("%s dport %d ", name, number))
			}
		}
	}
	return found
}

// named are the numbers that a name of a port has in these pods.
func named(name string, protocol core.Protocol, pods []*core.Pod) []int32 {
	seen := map[int32]bool{}
	var found []int32
	for _, pod := range pods {
		for _, container := range pod.Spec.Containers {
			for _, port := range container.Ports {
				if port.Name == name && port.Protocol == protocol && !seen[port.ContainerPort] {
					seen[port.ContainerPort] = true
					found = append(found, port.ContainerPort)
				}
			}
		}
	}
	return found
}
