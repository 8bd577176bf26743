package attack

import _ "embed"

//go:embed probe/probe_amd64
var program []byte
