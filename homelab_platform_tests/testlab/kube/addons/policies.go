package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"time"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	settle = 100 * time.Millisecond // changes come in bursts: one new rule set for a burst
	again  = 5 * time.Second        // after a rule set that nft refused
)

// runPolicies has the kernel of one node refuse what the cluster's network policies do not allow.
func runPolicies() {
	flags := flag.NewFlagSet("policies", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the cluster")
	node := flags.String("node", "", "the node whose pods are guarded")
	_ = flags.Parse(os.Args[1:])
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.Fatalf("%s cannot be used: %v", *kubeconfig, err)
	}
	factory := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(config), 0)
	changed := make(chan struct{}, 1)
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(telling(changed)); err != nil {
			klog.Fatal(err)
		}
	}
	never := make(chan struct{})
	factory.Start(never)
	factory.WaitForCacheSync(never)
	tell(changed)
	applied := ""
	for range changed {
		time.Sleep(settle)
		all, _ := pods.Lister().List(labels.Everything())
		spaces, _ := namespaces.Lister().List(labels.Everything())
		wanted, _ := policies.Lister().List(labels.Everything())
		text := ruleset(*node, all, spaces, wanted)
		if text == applied {
			continue
		}
		if err := apply(text); err != nil {
			klog.Errorf("nft refused the rules: %v", err)
			time.AfterFunc(again, func() { tell(changed) })
			continue
		}
		applied = text
	}
}

func telling(changed chan struct{}) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { tell(changed) },
		UpdateFunc: func(_, _ any) { tell(changed) },
		DeleteFunc: func(any) { tell(changed) },
	}
}

func tell(changed chan struct{}) {
	select {
	case changed <- struct{}{}:
	default: // it will look anyway
	}
}

func apply(text string) error {
	command := exec.Command("nft", "-f", "-")
	command.Stdin = bytes.NewBufferString(text)
	command.Stderr = os.Stderr
	return command.Run()
}

// cluster is what the rules are made from.
type cluster struct {
	pods   []*core.Pod
	spaces map[string]labels.Set
}

func newCluster(pods []*core.Pod, spaces []*core.Namespace) cluster {
	made := cluster{spaces: map[string]labels.Set{}}
	for _, space := range spaces {
		made.spaces[space.Name] = space.Labels
	}
	for _, pod := range pods {
		over := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
		if pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !over {
			made.pods = append(made.pods, pod)
		}
	}
	return made
}

func rules(policy *networking.NetworkPolicy) (ingress, egress bool) {
	for _, kind := range policy.Spec.PolicyTypes {
		ingress = ingress || kind == networking.PolicyTypeIngress
		egress = egress || kind == networking.PolicyTypeEgress
	}
	return ingress, egress
}
