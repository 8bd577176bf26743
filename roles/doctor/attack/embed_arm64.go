package attack

import _ "embed"

//go:embed probe/probe_arm64
var program []byte
