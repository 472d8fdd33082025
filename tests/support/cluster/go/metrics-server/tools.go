//go:build tools

// Package tools names what measures the pods of the test cluster.
package tools

import _ "sigs.k8s.io/metrics-server/cmd/metrics-server"
