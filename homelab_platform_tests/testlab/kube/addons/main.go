// Addons is what a bare Kubernetes lacks for the test lab: names (CoreDNS), volumes made when they are claimed, and
// network policies that really block. The first argument says which.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "addons: say dns, volumes or policies")
		os.Exit(2)
	}
	name := os.Args[1]
	os.Args = os.Args[1:]
	switch name {
	case "dns":
		runDNS()
	case "volumes":
		runVolumes()
	case "policies":
		runPolicies()
	default:
		fmt.Fprintf(os.Stderr, "addons: no part %q; say dns, volumes or policies\n", name)
		os.Exit(2)
	}
}
