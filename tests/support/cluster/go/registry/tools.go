//go:build tools

// Package tools names the image registry of the test cluster.
package tools

import _ "github.com/distribution/distribution/v3/cmd/registry"
