package slot

import "golang.org/x/sys/unix"

// Layers that the build for one test may leave out.
const (
	Seccomp    = "seccomp"
	LSM        = "lsm" // Landlock and AppArmor
	Namespaces = "namespaces"
)

// allowAll is the filter of slots without one: it holds the place, and the
// listener, of the real one.
var allowAll = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000 /* SECCOMP_RET_ALLOW */}}
