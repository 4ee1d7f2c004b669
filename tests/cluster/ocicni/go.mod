module tripod.dev/tests/cluster/ocicni

go 1.26.2

require (
	github.com/containernetworking/cni v1.3.1
	github.com/cri-o/ocicni v0.5.1
)

require (
	github.com/containernetworking/plugins v1.9.1 // indirect
	github.com/fsnotify/fsnotify v1.10.1 // indirect
	github.com/sirupsen/logrus v1.9.4 // indirect
	github.com/vishvananda/netlink v1.3.1 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	go.opentelemetry.io/otel v1.29.0 // indirect
	go.opentelemetry.io/otel/trace v1.29.0 // indirect
	golang.org/x/sys v0.46.0 // indirect
)
