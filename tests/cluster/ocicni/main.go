// CRI-O's own layer between its pods and CNI, without CRI-O: `ocicni CONFDIR BINDIR` stays as long as its
// standard input does. Each line there is one order in JSON, and each line of the output its answer.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/cri-o/ocicni/pkg/ocicni"
)

// CRI-O gives an ADD five minutes and a DEL one; a test does not wait as long.
const limit = time.Minute

type order struct {
	// What to do: "network", "status", "setup", "look", "teardown" or "gc".
	Do string `json:"do"`
	// The pod that it is done to.
	Pod ocicni.PodNetwork `json:"pod"`
	// For "gc", all pods that are still wanted.
	Pods []*ocicni.PodNetwork `json:"pods"`
}

type answer struct {
	Error string `json:"error,omitempty"`
	// The default network's name, or the result of each network.
	Said any `json:"said,omitempty"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: ocicni CONFDIR BINDIR")
		os.Exit(2)
	}
	plugin, err := ocicni.InitCNI("", os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answers := json.NewEncoder(os.Stdout)
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		if err := answers.Encode(obey(plugin, orders.Bytes())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func obey(plugin ocicni.CNIPlugin, line []byte) answer {
	var order order
	if err := json.Unmarshal(line, &order); err != nil {
		return answer{Error: err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var attached []ocicni.NetResult
	var err error
	switch order.Do {
	case "network":
		return answer{Said: plugin.GetDefaultNetworkName()}
	case "status":
		err = plugin.StatusWithContext(ctx)
	case "setup":
		attached, err = plugin.SetUpPodWithContext(ctx, order.Pod)
	case "look":
		attached, err = plugin.GetPodNetworkStatusWithContext(ctx, order.Pod)
	case "teardown":
		err = plugin.TearDownPodWithContext(ctx, order.Pod)
	case "gc":
		err = plugin.GC(ctx, order.Pods)
	default:
		err = fmt.Errorf("no such order: %q", order.Do)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	var results []types.Result
	for _, network := range attached {
		results = append(results, network.Result)
	}
	return answer{Said: results}
}
