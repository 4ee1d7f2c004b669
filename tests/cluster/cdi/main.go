// What a container runtime makes of CDI specs: `cdi FOLDER NAME...` checks every file of FOLDER against the
// schema and by the library that containerd and CRI-O use, asks it for the devices NAME, and prints the
// changed part of the container: {"versions": {file: lowest version}, "linux": …, "mounts": …, "hooks": …}.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/schema"
)

type report struct {
	// By file, the version it says and the lowest one that would do.
	Versions map[string][2]string `json:"versions"`
	Linux    *oci.Linux           `json:"linux"`
	Mounts   []oci.Mount          `json:"mounts"`
	Hooks    *oci.Hooks           `json:"hooks"`
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: cdi FOLDER NAME...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folder string, names []string) error {
	cache, err := cdi.NewCache(cdi.WithSpecDirs(folder), cdi.WithAutoRefresh(false))
	if err != nil {
		return err
	}
	for path, errors := range cache.GetErrors() {
		return fmt.Errorf("%s: %v", path, errors)
	}
	versions, err := check(cache)
	if err != nil {
		return err
	}
	container := &oci.Spec{}
	if missing, err := cache.InjectDevices(container, names...); err != nil {
		return fmt.Errorf("%v: %w", missing, err)
	}
	answer := report{versions, container.Linux, container.Mounts, container.Hooks}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

func check(cache *cdi.Cache) (map[string][2]string, error) {
	versions := map[string][2]string{}
	for _, vendor := range cache.ListVendors() {
		for _, spec := range cache.GetVendorSpecs(vendor) {
			if err := schema.ValidateFile(spec.GetPath()); err != nil {
				return nil, fmt.Errorf("%s: %w", spec.GetPath(), err)
			}
			lowest, err := cdi.MinimumRequiredVersion(spec.Spec)
			if err != nil {
				return nil, err
			}
			versions[spec.GetPath()] = [2]string{spec.Version, lowest}
		}
	}
	return versions, nil
}
